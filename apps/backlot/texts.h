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

// How a command makes texts, where it is not as generate does.
struct TextMaking {
  WeightPacking packing = WeightPacking::automatic;
  int64_t max_sequences = 64;  // together, at most
  // As in TextStageOptions; texts are logged if nobody is told.
  std::function<void(const TextRecord&, bool cached)> told = {};
  std::function<void(const PlannedText&, const std::string& error)> failed = {};
};

// What a manifest says of weights packed so: "none" where they are as their files have them.
std::string text_packing_name(WeightPacking packing);

// Makes the texts that the folder's pending items want and don't have yet, and gives them to the
// items. The language model is in memory only meanwhile. Throws what its loading throws, and
// Interrupted.
TextTotals make_run_texts(PreparedRun& run, RunFolder& folder, const GenerateOptions& options,
                          const std::function<Engine&()>& engine, ResultCache* cache,
                          const StopSignal& stop, const TextMaking& making = {});

// Gives the items of a run the texts that its folder has. Throws UsageError if one is missing.
void take_run_texts(PreparedRun& run, RunFolder& folder, const GenerateOptions& options);

// Opens a run's folder for a process without an engine. If texts are missing in it, they are made
// by `backlot generate --texts-only` on `device` first, but for a shard, whose siblings would want
// to make them too. Throws as RunFolder::open and run_own_child do.
RunFolder open_with_texts(const PreparedRun& run, const RunFolderOptions& how,
                          const GenerateOptions& options, const std::string& device,
                          const StopSignal& stop);

}  // namespace backlot
