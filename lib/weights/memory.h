// How much memory a model and its pictures take, estimated from configs and headers alone.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "weights/model_folder.h"

namespace backlot {

// Working memory, in bytes, that one picture of a batch takes at its peak: the larger of the UNet's
// (feature maps kept for the skip connections and one transformer layer at work; twice under
// guidance) and the VAE decoder's (a few maps at full size). `value_bytes`: 4 for float32, 2 for
// bfloat16 and float16. The channels are the networks' block_out_channels.
uint64_t picture_bytes(std::span<const int64_t> unet_channels,
                       std::span<const int64_t> vae_channels, int64_t value_bytes, int64_t width,
                       int64_t height, bool guidance);

struct MemoryNeed {
  uint64_t weights = 0;      // bytes, loaded at that precision
  uint64_t per_picture = 0;  // picture_bytes
};

// Throws LoadError if a config can't be read.
MemoryNeed memory_need(const ModelFolder& model, const std::optional<std::string>& variant,
                       int64_t value_bytes, int64_t width, int64_t height, bool guidance);

}  // namespace backlot
