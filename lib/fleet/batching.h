// Which items may share one call of a pipeline, and in what order they come.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spec/item.h"

namespace backlot {

// Items with equal keys need the same loaded model.
std::string pipeline_key(const Item& item);

// Items with equal keys may be denoised together: one model, size, step count, scheduler, guidance
// on or off, tiling.
std::string batch_key(const Item& item);

// Items of one batch key, in the plan's order.
struct BatchGroup {
  std::vector<const Item*> items;
};

// Items of one pipeline key: loaded once.
struct PipelineGroup {
  std::vector<BatchGroup> batches;
};

// Groups in the order in which their first items stand in the plan.
std::vector<PipelineGroup> group_items(const std::vector<const Item*>& items);

// How many items to denoise together: `wish` if given (at least 1), else as many as fit into the
// part of `free_bytes` that may be taken, at most `most`, and no more than there are.
int64_t choose_batch_size(int64_t wish, uint64_t bytes_per_item, uint64_t free_bytes, int64_t most,
                          int64_t items);

}  // namespace backlot
