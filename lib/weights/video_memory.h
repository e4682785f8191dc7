// How much memory a video model and a clip take, estimated from configs and headers alone. The
// formulas follow what Wan's networks keep while they work.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "weights/model_folder.h"

namespace backlot {

// What of a WanPipeline's folder decides its memory.
struct VideoSizes {
  int64_t transformers = 0, vae = 0, text_encoder = 0;  // parameters; of both transformers
  // Of a transformer. Width D, inner width of the feed-forward layers, blocks, the text's width.
  int64_t width = 0, ffn = 0, layers = 0, text_width = 0;
  int64_t patch_frames = 1, patch_side = 2;
  // Of the autoencoder's decoder: channels at full size, residual blocks a level; pixels and frames
  // that a latent one stands for.
  int64_t decoder_channels = 0, decoder_blocks = 0;
  int64_t spatial = 8, temporal = 4;
};

// Reads configs and headers. Throws LoadError.
VideoSizes video_sizes(const ModelFolder& model, const std::optional<std::string>& variant);

struct ClipShape {
  int64_t width = 0, height = 0, frames = 1;
  int64_t text_tokens = 512;
  bool guidance = false;
  bool tiled = false;       // decoded in tiles
  bool step_cache = false;  // what the blocks did at an earlier step is kept
  // Of a clip of several scenes, of which `frames` is the longest: how many they are, how many
  // frames they have together, and how many the longest cross-fade shares.
  int64_t scenes = 1, frames_of_all = 0, shared = 0;
};

// The decoder's tiles, in pixels along each side.
constexpr int64_t wan_tile = 256;

// Working memory while a clip is made, at its peak: the larger of the transformer's (one block at
// work on all of the clip's tokens, beside the texts' keys and values) and the decoder's (one chunk
// of frames at full size, beside what its convolutions remember; not the whole clip, unless it is
// tiled). Besides, of scenes, what waits: all texts, the latents of those that are through,
// pictures that are to be mixed. `value_bytes`: of the transformer's numbers, `vae_value_bytes` of
// the decoder's.
uint64_t clip_bytes(const VideoSizes& sizes, const ClipShape& shape, int64_t value_bytes,
                    int64_t vae_value_bytes);

}  // namespace backlot
