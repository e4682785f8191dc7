// How much memory a model and its pictures take, estimated from configs and headers alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "spec/item.h"
#include "weights/model_folder.h"

namespace backlot {

struct MemoryNeed {
  uint64_t weights = 0;      // bytes, loaded at that precision
  uint64_t per_picture = 0;  // bytes of working memory for each picture of a batch, at its peak
};

// `value_bytes`: 4 for float32, 2 for bfloat16 and float16. The peak is the larger of the UNet's
// (feature maps kept for the skip connections, one transformer layer at work; twice under guidance)
// and the VAE decoder's (a few full-size feature maps); measured peaks lie within about 30 %.
MemoryNeed memory_need(const ModelFolder& model, const std::optional<std::string>& variant,
                       int value_bytes, int64_t width, int64_t height, bool guidance);

// The same for an item of a plan.
MemoryNeed memory_need(const Item& item, int value_bytes);

}  // namespace backlot
