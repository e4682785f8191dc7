#include "fleet/runner.h"

#include <algorithm>
#include <span>

namespace backlot {
namespace {

void run_batches(BatchMaker& maker, const BatchGroup& group, const StopSignal& stop) {
  const auto& items = group.items;
  size_t prepared = 0;
  for (size_t at = 0; at < items.size();) {
    if (stop.requested()) throw Interrupted();
    const int64_t left = std::ssize(items) - static_cast<int64_t>(at);
    const auto begin = items.begin() + static_cast<std::ptrdiff_t>(at);
    const auto size = std::min(maker.most_together(*items.front(), std::ssize(items)), left);
    if (at >= prepared) prepared = at + maker.look_ahead(std::span(items).subspan(at), size);
    maker.make({begin, begin + size});
    at += static_cast<size_t>(size);
  }
}

}  // namespace

void run_on_one_device(LoadedPipeline& loaded, const Plan& plan, RunFolder& folder,
                       const MakingOptions& options, RunProgress& progress,
                       const StopSignal& stop) {
  BatchMaker maker(loaded, plan.output, folder, options, progress, stop);
  auto groups = group_items(folder.pending());
  // An earlier run of the same call may have left a pipeline that one of the groups needs.
  std::ranges::stable_partition(groups, [&](const PipelineGroup& group) {
    return maker.has_model_of(*group.batches.front().items.front());
  });
  for (const auto& group : groups)
    for (const auto& batch : group.batches) run_batches(maker, batch, stop);
  maker.drain();
}

}  // namespace backlot
