// Makes a plan's pending items on one device, in this process.
#pragma once

#include "fleet/batch_maker.h"
#include "run/run_folder.h"

namespace backlot {

// Makes what is pending in the folder. Throws as BatchMaker does.
void run_on_one_device(LoadedPipeline& loaded, const Plan& plan, RunFolder& folder,
                       const MakingOptions& options, RunProgress& progress, const StopSignal& stop);

}  // namespace backlot
