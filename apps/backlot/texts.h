// The enhance stage of a run: prompts become the texts that are rendered.
#pragma once

#include <functional>
#include <string>

#include "base/stop.h"
#include "engine/engine.h"
#include "enhance/text_stage.h"
#include "generate.h"
#include "run/result_cache.h"

namespace backlot {

// Makes the texts that the folder's pending items want and don't have yet, and gives them to the
// items. The language model is in memory only meanwhile. Throws what its loading throws, and
// Interrupted.
TextTotals make_run_texts(PreparedRun& run, RunFolder& folder, const GenerateOptions& options,
                          const std::function<Engine&()>& engine, ResultCache* cache,
                          const StopSignal& stop);

// Gives the items of a run the texts that its folder has. Throws UsageError if one is missing.
void take_run_texts(PreparedRun& run, RunFolder& folder, const GenerateOptions& options);

// Opens a run's folder for a process without an engine. If texts are missing in it, they are made
// by `backlot generate --texts-only` on `device` first, but for a shard, whose siblings would want
// to make them too. Throws as RunFolder::open and run_own_child do.
RunFolder open_with_texts(const PreparedRun& run, const RunFolderOptions& how,
                          const GenerateOptions& options, const std::string& device,
                          const StopSignal& stop);

}  // namespace backlot
