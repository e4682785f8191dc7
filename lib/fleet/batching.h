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

}  // namespace backlot
