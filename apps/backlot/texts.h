// The enhance stage of a run: prompts become the texts that are rendered.
#pragma once

#include <functional>
#include <string>

#include "base/stop.h"
#include "engine/engine.h"
#include "generate.h"
#include "run/result_cache.h"

namespace backlot {

// Makes the texts that the folder's pending items want and don't have yet, and gives them to the
// items. The language model is in memory only meanwhile. Throws what its loading throws, and
// Interrupted.
void make_run_texts(PreparedRun& run, RunFolder& folder, const GenerateOptions& options,
                    const std::function<Engine&()>& engine, ResultCache* cache,
                    const StopSignal& stop);

// Gives the items of a run the texts that its folder has. Throws UsageError if one is missing.
void take_run_texts(PreparedRun& run, RunFolder& folder);

}  // namespace backlot
