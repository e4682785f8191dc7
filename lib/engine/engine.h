// What the upper half knows of the engine: requests in, pictures out. No LibTorch in this header;
// the engine itself is a shared library that load_engine() (engine/loader.h) opens on demand.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/quantization.h"
#include "engine/language_model.h"
#include "engine/probe.h"

namespace backlot {

class VideoPipeline;  // engine/video.h
struct VideoPipelineOptions;

struct EngineOptions {
  std::string device = "cpu";  // cpu, cuda or cuda:N
  int threads = 0;             // for one operator on the CPU; 0: as many as the process may use
  std::string plugin_problem;  // set by load_engine(): why there is no CUDA plugin; "" if there is
};

struct PipelineOptions {
  std::filesystem::path model;               // a diffusers folder or one SDXL checkpoint file
  std::optional<std::string> variant;        // "fp16" picks *.fp16.safetensors
  std::optional<std::filesystem::path> vae;  // another autoencoder's folder
  Precision precision = Precision::automatic;
  // An architecture that synthetic_pipeline() knows, in full size, or a folder whose configs say
  // the sizes: random weights are made in memory, and `model` is unused.
  std::optional<std::string> synthetic;
  Quantization quantization = Quantization::none;  // of the UNet; alters pictures
  // Text encoders are in memory only while prompts are encoded, one after the other. Pictures are
  // the same to the bit.
  bool text_encoders_out = false;
};

// height, width, as diffusers orders them
using Size = std::array<int64_t, 2>;

// One picture to make, everything resolved. Names and meanings are diffusers'
// (StableDiffusionXLPipeline.__call__); absent differs from empty for the negative prompts.
struct ImageRequest {
  std::string prompt;
  std::optional<std::string> prompt_2;
  std::optional<std::string> negative_prompt, negative_prompt_2;
  uint64_t seed = 0;
  int64_t steps = 50;
  double guidance_scale = 5.0;  // at most 1: no guidance, negative prompts unused
  double guidance_rescale = 0.0;
  int64_t width = 1024, height = 1024;  // pixels, multiples of 8
  int64_t clip_skip = 0;                // hidden_states[-(clip_skip + 2)], positive prompt only
  std::optional<Size> original_size, target_size, negative_original_size, negative_target_size;
  Size crops_coords_top_left = {0, 0}, negative_crops_coords_top_left = {0, 0};
  // null: the folder's scheduler_config.json; text: a name (euler, dpmpp_2m_karras, …) laid over
  // the folder's config; object: `_class_name` and keys, replacing the folder's config whole.
  Json scheduler;
  bool chunk_long_prompts = false;  // false: truncate at 77 tokens with a warning, as diffusers
  bool prompt_weighting = false;    // read (word:1.3) and [word]
  bool vae_tiling = false;          // decode in overlapping tiles: less memory, other rounding
  int64_t cache = 1;                // deep UNet features are made at every cache-th step only
};

// Pixels row by row, three bytes each.
struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;
};

// Shares of a batch's wall time, divided evenly among its items.
struct StageSeconds {
  double text_encode = 0, denoise = 0, decode = 0;
};

struct DeliveredPicture {
  Picture picture;
  StageSeconds seconds;
};

struct ImageResult {
  Picture picture;
  StageSeconds seconds;
  std::vector<std::string> warnings;  // e.g. "prompt truncated to 77 tokens: …"

  // Only from start(): picture and seconds are still to come, and this waits for them. Call it
  // once, from any thread. Throws ItemError.
  std::function<DeliveredPicture()> delivery;
};

// Hears how far long work is, and says whether to go on.
class Progress {
 public:
  virtual ~Progress() = default;
  virtual void stage(std::string_view name) = 0;  // load, text_encode, denoise, decode
  virtual void step(int64_t done, int64_t total) = 0;
  virtual bool stop_requested() const = 0;  // asked between steps; true makes Interrupted fly

  // The denoising steps from here on are of these items of the batch.
  virtual void denoising(std::span<const size_t> /*items*/) {}

  // Asked before each denoising step is reported: true gives a preview of each of its items, small
  // and rough, for where the pipeline has one.
  virtual bool wants_previews(int64_t /*done*/, int64_t /*total*/) { return false; }
  virtual void preview(size_t /*item*/, const Picture& /*picture*/) {}
};

// Measured, in bytes: on a CPU what the process holds in memory, on a GPU what LibTorch's allocator
// has taken of the device's. Zeros: the system doesn't say.
struct PipelineMemory {
  uint64_t before = 0;          // before the model was loaded
  uint64_t loaded = 0;          // after that, with nothing being made
  uint64_t peak = 0;            // the most since the last batch began
  uint64_t peak_allocated = 0;  // of that, what tensors were in; on a CPU all
};

// A loaded model. Not safe for use from two threads at once.
class ImagePipeline {
 public:
  virtual ~ImagePipeline() = default;

  // The requests share width, height, steps, scheduler, vae_tiling, cache, and all or none of them
  // use guidance; prompts, seeds, scales and sizes for conditioning may differ. Each result depends
  // on its own request alone, but for rounding. Throws OutOfMemory (nothing made, try fewer),
  // ItemError, Interrupted.
  virtual std::vector<ImageResult> generate(std::span<const ImageRequest> batch,
                                            Progress& progress) = 0;

  // The same, but a GPU may still be at work on the pictures when it returns, so that the next
  // batch can be given to it meanwhile. What the pictures themselves are refused for, deliveries
  // throw.
  virtual std::vector<ImageResult> start(std::span<const ImageRequest> batch, Progress& progress) {
    return generate(batch, progress);
  }

  virtual std::string dtype() const = 0;  // "float32", "bfloat16" or "float16": what was chosen

  // Encodes what these will ask for, as many at a time as will be made together, so that text
  // encoders that are out of memory are read once for all of them. Does nothing where they are
  // held. A hundred requests at a time are remembered. Throws as generate() does.
  virtual void prepare(std::span<const ImageRequest>, [[maybe_unused]] int64_t together) {}

  // From now on as with PipelineOptions::text_encoders_out. False: they were out already.
  virtual bool move_text_encoders_out() { return false; }

  virtual bool text_encoders_out() const { return false; }

  virtual PipelineMemory memory() const { return {}; }
};

struct DeviceFacts {
  std::string name;   // "cpu", "cuda:0"
  std::string model;  // what the maker calls it
  uint64_t memory_bytes = 0, free_bytes = 0;
  int threads = 0;
  std::vector<std::string> notes;  // what makes it slower than it could be, for people
  uint64_t held_bytes = 0;         // by this process, without what `free_bytes` counts already
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual DeviceFacts device() const = 0;
  virtual std::string torch_version() const = 0;

  // Throws LoadError (file and what is wrong with it, all mismatched tensors at once), OutOfMemory,
  // EnvironmentError (the device can't have the quantization).
  virtual std::unique_ptr<ImagePipeline> load_image_pipeline(const PipelineOptions& options,
                                                             Progress& progress) = 0;

  // Throws as load_image_pipeline().
  virtual std::unique_ptr<VideoPipeline> load_video_pipeline(const VideoPipelineOptions& options,
                                                             Progress& progress);

  // Throws as load_image_pipeline().
  virtual std::unique_ptr<LanguageModel> load_language_model(const LanguageModelOptions& options,
                                                             Progress& progress);

  // Takes a few seconds: the best of several runs of each.
  virtual Ceilings measure_ceilings(Precision precision) = 0;

  // Kernels are reported as they are measured; progress is asked between them whether to stop
  // (throws Interrupted). Weights are random, and in memory for one kernel at a time.
  virtual void measure_kernels(const KernelRequest& request, const KernelListener& report,
                               Progress& progress) = 0;
};

inline std::unique_ptr<VideoPipeline> Engine::load_video_pipeline(const VideoPipelineOptions&,
                                                                  Progress&) {
  throw EnvironmentError("text-to-video", "this engine makes no videos",
                         "run it on a device that does");
}

inline std::unique_ptr<LanguageModel> Engine::load_language_model(
    const LanguageModelOptions& options, Progress&) {
  throw EnvironmentError(options.model.string(), "this engine has no language models",
                         "run it on a device that has");
}

}  // namespace backlot
