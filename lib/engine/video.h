// What the upper half knows of a text-to-video model in the engine: a request in, frames out, a few
// at a time. No LibTorch in this header.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/precision.h"
#include "engine/engine.h"

namespace backlot {

// Where the text encoder is, which is most of a video model's weights and is at work for seconds
// only. Frames are the same to the bit wherever the device is the CPU.
enum class TextEncoderPlace {
  held,            // on the device, all the time
  while_encoding,  // on the device, and only then
  host,            // in the host's memory, only while encoding: for GPUs too small for it
};

// Whether load_video_pipeline() can run it with random weights: a video architecture of
// synthetic_architectures(), or a pipeline's folder, of which it is not known here what it makes.
bool synthetic_video_pipeline(std::string_view name);

struct VideoPipelineOptions {
  std::filesystem::path model;         // a diffusers folder of a WanPipeline
  std::optional<std::string> variant;  // "fp16" picks *.fp16.safetensors
  Precision precision = Precision::automatic;
  TextEncoderPlace text_encoder = TextEncoderPlace::held;
  // As PipelineOptions::synthetic, for what synthetic_video_pipeline() knows. There is no text
  // encoder then: what a prompt's text would amount to is random too.
  std::optional<std::string> synthetic = {};
};

// One of several prompts that become one clip.
struct VideoScene {
  std::string prompt;
  std::string negative_prompt;
  uint64_t seed = 0;
  int64_t frames = 81;  // one more than a multiple of the autoencoder's 4, not rounded
  // The first of them are the last of the scene before, cross-faded; 0: a cut. Of every scene at
  // least one frame shows it alone.
  int64_t transition_frames = 0;
};

// One clip to make, everything resolved. Names and meanings are diffusers' (WanPipeline.__call__).
struct VideoRequest {
  std::string prompt;
  std::string negative_prompt;  // absent is empty here, as in the reference
  uint64_t seed = 0;
  int64_t steps = 50;
  double guidance_scale = 5.0;  // at most 1: no guidance, negative prompts unused
  // Of the second transformer, below the model's boundary_ratio; else guidance_scale. Only for
  // models that have two.
  std::optional<double> guidance_scale_2;
  int64_t width = 832, height = 480;  // pixels, multiples of 16
  // One more than a multiple of the autoencoder's 4, else rounded to that with a warning.
  int64_t frames = 81;
  int64_t max_sequence_length = 512;  // tokens of the prompts
  Json scheduler;                     // as ImageRequest::scheduler
  bool vae_tiling = false;            // decode in overlapping tiles: less memory, other rounding
  // Reuses most of the transformer's work of an earlier step where its first block's differs from
  // that step's by less than this part; 0: never. Not in the first and the last step.
  double step_cache = 0;
  // Where there are any, prompts, seed and frames above mean nothing. Each scene's frames are those
  // of a clip of its own, but for those that it shares.
  std::vector<VideoScene> scenes = {};
};

// What a clip's making can go on from: the latents, the scheduler's memory and the random numbers'
// state after a step. Opaque, and good for one request to a model in one precision on one kind of
// device; the frames are then the same to the bit as if it had never been left.
struct VideoCheckpoints {
  // Of an earlier try, or empty. What does not belong to the request is passed over with a warning.
  std::string resume_from = {};

  // Asked after each step but the last: whether to keep() what there is. Not called: never.
  std::function<bool(int64_t done, int64_t total)> due = {};
  std::function<void(std::string blob)> keep = {};
};

// Frames in their order. May throw, which ends the work and passes through.
using FrameTaker = std::function<void(Picture frame)>;

struct VideoResult {
  int64_t frames = 0, width = 0, height = 0;  // as made
  int64_t resumed_from = 0;                   // steps that a checkpoint saved
  // Calls of the transformer that the whole clip takes, two a step with guidance, and how many of
  // them step_cache made short.
  int64_t evaluations = 0, skipped_evaluations = 0;
  StageSeconds seconds;                       // decode holds the taker's, too
  std::vector<std::string> warnings;
};

// A loaded model. Not safe for use from two threads at once.
class VideoPipeline {
 public:
  virtual ~VideoPipeline() = default;

  // Hands frames out as the autoencoder makes them, so that memory does not grow with the clip.
  // Scenes are denoised one after the other, and then decoded; steps are counted over all of them.
  // Told to stop between steps it keeps a checkpoint first, if there is a way. Progress has stages
  // text_encode, denoise and decode, the last one in frames; previews hold the first, the middle
  // and the last frame side by side. Throws OutOfMemory, ItemError, Interrupted, and what the
  // taker and the checkpoints throw.
  virtual VideoResult generate(const VideoRequest& request, const FrameTaker& take_frame,
                               const VideoCheckpoints& checkpoints, Progress& progress) = 0;

  virtual std::string dtype() const = 0;  // of the transformer: "float32", "bfloat16", "float16"

  virtual TextEncoderPlace text_encoder() const { return TextEncoderPlace::held; }

  // From now on as with VideoPipelineOptions::text_encoder, if that takes less of the device's
  // memory than now; false if it does not.
  virtual bool move_text_encoder(TextEncoderPlace) { return false; }

  virtual PipelineMemory memory() const { return {}; }
};

}  // namespace backlot
