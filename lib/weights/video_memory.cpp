#include "weights/video_memory.h"

#include <algorithm>

namespace backlot {
namespace {

int64_t integer(const Json& config, const char* key, int64_t otherwise) {
  const auto found = config.find(key);
  return found != config.end() && found->is_number_integer() ? found->get<int64_t>() : otherwise;
}

int64_t parameters(const ModelFolder& model, const char* component,
                   const std::optional<std::string>& variant) {
  const Checkpoint checkpoint = model.checkpoint(component, variant);
  int64_t count = 0;
  for (const auto& [name, view] : checkpoint.tensors()) count += view.elements();
  return count;
}

// Latents of a clip, in values.
int64_t latent_values(const VideoSizes& sizes, const ClipShape& shape) {
  constexpr int64_t channels = 16;
  return channels * ((shape.frames - 1) / sizes.temporal + 1) * (shape.height / sizes.spatial) *
         (shape.width / sizes.spatial);
}

int64_t denoise_bytes(const VideoSizes& sizes, const ClipShape& shape, int64_t each) {
  // The stream, its norm, q, k, v and what attention gives; norms and rotations pass through
  // float32 for two of them at a time.
  constexpr int64_t maps = 6, wide_maps = 2;
  const int64_t patch = sizes.spatial * sizes.patch_side;
  const int64_t latent_frames = (shape.frames - 1) / sizes.temporal + 1;
  const int64_t tokens =
      (latent_frames / sizes.patch_frames) * (shape.height / patch) * (shape.width / patch);
  const int64_t attention = tokens * sizes.width * (maps * each + wide_maps * 4);
  // The stream, its norm, and the inner layer before and after its activation.
  const int64_t feed_forward = tokens * (sizes.width * (3 * each + 4) + 2 * sizes.ffn * each);
  const int64_t texts = 2 * sizes.layers * shape.text_tokens * sizes.width * each;
  // Two changes of the stream for each text, and while they are made two copies of it.
  const int64_t kept =
      shape.step_cache ? tokens * sizes.width * each * (2 * (shape.guidance ? 2 : 1) + 2) : 0;
  // Latents in float32, what the sampler remembers of them, and both predictions.
  constexpr int64_t latent_copies = 8;
  return std::max(attention, feed_forward) + texts * (shape.guidance ? 2 : 1) + kept +
         latent_values(sizes, shape) * latent_copies * 4;
}

int64_t decode_bytes(const VideoSizes& sizes, const ClipShape& shape, int64_t each) {
  // Of a chunk of frames: a residual block's maps, the enlarged one twice as wide before it.
  constexpr int64_t maps = 10;
  constexpr int64_t remembered_frames = 2;
  const int64_t side_limit = shape.tiled ? wan_tile : std::max(shape.width, shape.height);
  const int64_t pixels = std::min(shape.width, side_limit) * std::min(shape.height, side_limit);
  const int64_t chunk = std::min(shape.frames, sizes.temporal);
  const int64_t map = pixels * sizes.decoder_channels * each;
  // Two convolutions a block; levels below have a quarter of the pixels and twice the channels.
  const int64_t cache =
      shape.frames == 1 ? 0 : map * remembered_frames * 2 * (sizes.decoder_blocks + 2) * 3 / 2;
  const int64_t pictures = 3 * shape.width * shape.height;
  const int64_t held = shape.tiled ? pictures * shape.frames * 2 * each : pictures * chunk * 8;
  return map * chunk * maps + cache + held + latent_values(sizes, shape) * 2 * 4;
}

int64_t waiting_bytes(const VideoSizes& sizes, const ClipShape& shape, int64_t each) {
  if (shape.scenes <= 1) return 0;
  ClipShape others = shape;
  others.frames = std::max<int64_t>(shape.frames_of_all - shape.frames, 1);
  const int64_t texts =
      (shape.scenes - 1) * shape.text_tokens * sizes.text_width * each * (shape.guidance ? 2 : 1);
  return texts + latent_values(sizes, others) * 4 + 3 * shape.width * shape.height * shape.shared;
}

}  // namespace

VideoSizes video_sizes(const ModelFolder& model, const std::optional<std::string>& variant) {
  VideoSizes sizes;
  sizes.transformers = parameters(model, "transformer", variant);
  if (model.has("transformer_2")) sizes.transformers += parameters(model, "transformer_2", variant);
  sizes.vae = parameters(model, "vae", variant);
  sizes.text_encoder = parameters(model, "text_encoder", variant);
  const Json transformer = model.config("transformer");
  sizes.width = integer(transformer, "num_attention_heads", 40) *
                integer(transformer, "attention_head_dim", 128);
  sizes.ffn = integer(transformer, "ffn_dim", 13824);
  sizes.layers = integer(transformer, "num_layers", 40);
  sizes.text_width = integer(transformer, "text_dim", 4096);
  if (const auto patch = transformer.find("patch_size");
      patch != transformer.end() && patch->is_array() && patch->size() == 3 &&
      (*patch)[0].is_number_integer() && (*patch)[2].is_number_integer()) {
    sizes.patch_frames = std::max<int64_t>(1, (*patch)[0].get<int64_t>());
    sizes.patch_side = std::max<int64_t>(1, (*patch)[2].get<int64_t>());
  }
  const Json vae = model.config("vae");
  sizes.decoder_channels = integer(vae, "decoder_base_dim", integer(vae, "base_dim", 96));
  sizes.decoder_blocks = integer(vae, "num_res_blocks", 2);
  sizes.spatial = std::max<int64_t>(1, integer(vae, "scale_factor_spatial", 8));
  sizes.temporal = std::max<int64_t>(1, integer(vae, "scale_factor_temporal", 4));
  return sizes;
}

uint64_t clip_bytes(const VideoSizes& sizes, const ClipShape& shape, int64_t value_bytes,
                    int64_t vae_value_bytes) {
  constexpr int64_t scratch = int64_t{32} << 20;  // of kernels
  return static_cast<uint64_t>(std::max(denoise_bytes(sizes, shape, value_bytes),
                                        decode_bytes(sizes, shape, vae_value_bytes)) +
                               waiting_bytes(sizes, shape, value_bytes) + scratch);
}

}  // namespace backlot
