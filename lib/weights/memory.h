// How much memory a model and its pictures take, estimated from configs and headers alone. The
// formulas follow what the networks keep while they work; docs/memory.md compares them with peaks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/quantization.h"
#include "weights/model_folder.h"
#include "weights/video_memory.h"

namespace backlot {

// Parameters of a network, by how layers keep them.
struct NetworkSizes {
  int64_t matrices = 0;  // of linear layers
  int64_t winograd = 0;  // of 3x3 convolutions that can be laid out for Winograd's algorithm
  int64_t doubling = 0;  // of these, those that are kept a second time, joined with an enlargement
  int64_t others = 0;

  int64_t all() const { return matrices + winograd + others; }
};

// What of a model decides its memory.
struct ModelSizes {
  NetworkSizes unet, vae;
  int64_t first_text_encoder = 0, second_text_encoder = 0;  // parameters
  std::vector<int64_t> unet_channels, vae_channels;         // block_out_channels
  int64_t vae_tile = 0;             // sample_size: pictures up to this are not decoded in tiles
  bool vae_in_float32 = false;      // with float16: force_upcast
  std::optional<VideoSizes> video;  // of a video model, which has none of the above but vae_tile
};

// Reads configs and headers. `vae`: another autoencoder's folder. Throws LoadError.
ModelSizes model_sizes(const ModelFolder& model, const std::optional<std::string>& variant,
                       const std::optional<std::filesystem::path>& vae = std::nullopt);

// How a model is loaded.
struct LoadedAs {
  std::string dtype = "float32";  // "float32", "bfloat16", "float16"
  Quantization quantization = Quantization::none;
  bool on_gpu = false;
  bool own_kernels = false;  // a CPU whose bfloat16 layers are backlot's own (lib/kernels)
};

struct WeightBytes {
  uint64_t networks = 0;       // UNet and VAE
  uint64_t text_encoders = 0;  // both
  uint64_t largest_text_encoder = 0;
};

WeightBytes weight_bytes(const ModelSizes& sizes, const LoadedAs& as);

struct PictureShape {
  int64_t width = 0, height = 0;
  bool guidance = false;
  bool tiled = false;  // decoded in tiles
};

// Working memory while `together` pictures are made, at its peak: the larger of the UNet's (feature
// maps kept for the skip connections and one block at work, for every picture, twice under
// guidance) and the decoder's (a few maps at full size, for as many pictures as are decoded
// together, beside what denoising left for reuse in other sizes).
uint64_t working_bytes(const ModelSizes& sizes, const LoadedAs& as, const PictureShape& shape,
                       int64_t together);

// The same of one clip, or of one frame, by a video model.
uint64_t clip_bytes(const VideoSizes& sizes, const LoadedAs& as, const ClipShape& shape);

// The decoder's share of that for one picture. `channels`: the VAE's block_out_channels.
uint64_t decode_bytes(std::span<const int64_t> channels, int64_t value_bytes, int64_t width,
                      int64_t height);

// Pictures are decoded together while their working memory stays below this.
constexpr uint64_t decode_budget = uint64_t{960} << 20;

}  // namespace backlot
