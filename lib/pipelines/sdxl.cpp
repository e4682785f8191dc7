#include "pipelines/sdxl.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "base/time.h"
#include "pipelines/guidance.h"
#include "pipelines/picture.h"
#include "pipelines/sdxl_pipeline.h"
#include "pipelines/tensor_errors.h"
#include "weights/memory.h"

namespace backlot {
namespace {

// Pictures are decoded together while their working memory stays below this.
constexpr uint64_t decode_budget = uint64_t{512} << 20;

void stop_if_asked(const Progress& progress) {
  if (progress.stop_requested()) throw Interrupted();
}

// original_h, original_w, crop_top, crop_left, target_h, target_w
std::array<double, 6> sizes(const Size& original, const Size& crop, const Size& target) {
  return {double(original[0]), double(original[1]), double(crop[0]),
          double(crop[1]),     double(target[0]),   double(target[1])};
}

std::array<double, 6> positive_sizes(const ImageRequest& r) {
  const Size here = {r.height, r.width};
  return sizes(r.original_size.value_or(here), r.crops_coords_top_left,
               r.target_size.value_or(here));
}

std::array<double, 6> negative_sizes(const ImageRequest& r) {
  if (!r.negative_original_size || !r.negative_target_size) return positive_sizes(r);
  return sizes(*r.negative_original_size, r.negative_crops_coords_top_left,
               *r.negative_target_size);
}

// Which calls compute the UNet's deep features: those at every `interval`-th timestep. Samplers of
// second order call twice at one timestep, and both calls are treated alike.
std::vector<bool> whole_calls(const at::Tensor& timesteps, int64_t interval) {
  const auto times = timesteps.to(at::kDouble).cpu();
  const auto* time = times.const_data_ptr<double>();
  std::vector<bool> whole;
  int64_t distinct = 0;
  for (int64_t call = 0; call < times.numel(); ++call) {
    if (call > 0 && time[call] != time[call - 1]) ++distinct;
    whole.push_back(distinct % interval == 0);
  }
  return whole;
}

}  // namespace

void SdxlPipeline::check(std::span<const ImageRequest> batch) const {
  const int64_t multiple = parts_.vae.config().reduction();
  for (const auto& request : batch) {
    TORCH_CHECK(request.width == batch[0].width && request.height == batch[0].height &&
                    request.steps == batch[0].steps && request.scheduler == batch[0].scheduler &&
                    request.vae_tiling == batch[0].vae_tiling && request.cache == batch[0].cache,
                "a batch shares size, steps, scheduler, tiling and cache");
    if (request.width <= 0 || request.height <= 0 || request.width % multiple != 0 ||
        request.height % multiple != 0) {
      throw ItemError(parts_.where,
                      fmt::format("cannot make a picture of {}x{}", request.width, request.height),
                      fmt::format("give width and height as multiples of {}", multiple));
    }
    if (request.steps < 1) {
      throw ItemError(parts_.where, fmt::format("{} steps make no picture", request.steps),
                      "give steps of 1 or more");
    }
    if (request.cache < 1) {
      throw ItemError(parts_.where, fmt::format("cannot cache {} steps", request.cache),
                      "give cache of 1 or more");
    }
  }
}

std::vector<ImageResult> SdxlPipeline::generate(std::span<const ImageRequest> batch,
                                                Progress& progress) {
  if (batch.empty()) return {};
  const c10::InferenceMode inference;
  std::vector<ImageResult> results(batch.size());
  in_our_words(parts_.where, [&] {
    check(batch);
    StageSeconds seconds;
    Stopwatch watch;
    stop_if_asked(progress);
    progress.stage("text_encode");
    const auto prompts = parts_.prompts.encode(batch);
    seconds.text_encode = watch.lap();

    // Prompts of other lengths can't share a call: padding them would change their pictures.
    std::map<std::pair<int64_t, bool>, Indices> groups;
    for (size_t i = 0; i < batch.size(); ++i) {
      groups[{prompts[i].positive.size(0), guided(batch[i])}].push_back(i);
    }
    progress.stage("denoise");
    std::vector<std::pair<Indices, at::Tensor>> latents;
    for (const auto& [kind, items] : groups) {
      latents.emplace_back(items, denoise(batch, items, prompts, progress));
    }
    seconds.denoise = watch.lap();

    progress.stage("decode");
    int64_t decoded = 0;
    for (auto& [items, sample] : latents) {
      auto pictures = decode(sample, batch[0].vae_tiling, decoded, std::ssize(batch), progress);
      decoded += std::ssize(items);
      sample.reset();
      for (size_t i = 0; i < items.size(); ++i) {
        results[items[i]].picture = std::move(pictures[i]);
      }
    }
    seconds.decode = watch.lap();

    const auto share = static_cast<double>(batch.size());
    for (size_t i = 0; i < batch.size(); ++i) {
      results[i].seconds = {seconds.text_encode / share, seconds.denoise / share,
                            seconds.decode / share};
      results[i].warnings = prompts[i].warnings;
    }
  });
  return results;
}

UNetConditioning SdxlPipeline::condition(std::span<const ImageRequest> batch, const Indices& items,
                                         std::span<const EncodedPrompt> prompts,
                                         const at::Tensor& timesteps) const {
  std::vector<at::Tensor> text, pooled;
  std::vector<double> time_ids;
  if (guided(batch[items[0]])) {
    for (const auto i : items) {
      text.push_back(prompts[i].negative);
      pooled.push_back(prompts[i].negative_pooled);
      const auto ids = negative_sizes(batch[i]);
      time_ids.insert(time_ids.end(), ids.begin(), ids.end());
    }
  }
  for (const auto i : items) {
    text.push_back(prompts[i].positive);
    pooled.push_back(prompts[i].positive_pooled);
    const auto ids = positive_sizes(batch[i]);
    time_ids.insert(time_ids.end(), ids.begin(), ids.end());
  }
  return parts_.unet.condition(at::stack(text), at::stack(pooled),
                               at::tensor(time_ids, at::kFloat).view({-1, 6}).to(parts_.device),
                               timesteps.to(at::kFloat).to(parts_.device));
}

// -> [items, Z, h, w] float32
at::Tensor SdxlPipeline::denoise(std::span<const ImageRequest> batch, const Indices& items,
                                 std::span<const EncodedPrompt> prompts, Progress& progress) const {
  const auto& first = batch[items[0]];
  const auto scheduler = make_scheduler(first.scheduler, parts_.scheduler_config);
  scheduler->set_timesteps(first.steps);
  const auto conditioning = condition(batch, items, prompts, scheduler->timesteps());

  std::vector<uint64_t> seeds;
  std::vector<double> scales, rescales;
  for (const auto i : items) {
    seeds.push_back(batch[i].seed);
    scales.push_back(batch[i].guidance_scale);
    rescales.push_back(batch[i].guidance_rescale);
  }
  const int64_t reduction = parts_.vae.config().reduction();
  NoiseBatch noise(
      seeds, {parts_.unet.config().in_channels, first.height / reduction, first.width / reduction},
      parts_.device);
  const Guidance guidance(scales, rescales, parts_.device);

  auto latents = noise.draw() * scheduler->init_noise_sigma();
  const int64_t calls = scheduler->timesteps().size(0);
  const auto whole = whole_calls(scheduler->timesteps(), first.cache);
  at::Tensor deep;
  for (int64_t call = 0; call < calls; ++call) {
    stop_if_asked(progress);
    auto input = scheduler->scale_model_input(latents, call);
    if (guided(first)) input = at::cat({input, input});
    if (whole[call]) deep.reset();
    auto output =
        parts_.unet(input, conditioning, call, first.cache > 1 ? &deep : nullptr).to(at::kFloat);
    if (guided(first)) output = guidance(output);
    latents = scheduler->step(output, call, latents, [&] { return noise.draw(); });
    if (observer_) observer_(call, latents);
    progress.step(call + 1, calls);
  }
  return latents;
}

std::vector<Picture> SdxlPipeline::decode(const at::Tensor& latents, bool tiled, int64_t decoded,
                                          int64_t total, Progress& progress) const {
  const auto z = parts_.vae.unscale(latents);
  const int64_t reduction = parts_.vae.config().reduction();
  const uint64_t each = decode_bytes(z.size(3) * reduction, z.size(2) * reduction);
  const auto slice = tiled ? 1 : std::max<int64_t>(1, decode_budget / std::max<uint64_t>(each, 1));
  std::vector<Picture> pictures;
  for (const auto& part : z.split(slice)) {
    stop_if_asked(progress);
    const auto picture = tiled ? parts_.vae.decode_tiled(part, [&] { stop_if_asked(progress); })
                               : parts_.vae.decode(part);
    for (auto& made : to_pictures(picture)) pictures.push_back(std::move(made));
    progress.step(decoded + std::ssize(pictures), total);
  }
  return pictures;
}

std::string SdxlPipeline::dtype() const {
  switch (parts_.unet.dtype()) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    default:
      return "float32";
  }
}

uint64_t SdxlPipeline::decode_bytes(int64_t width, int64_t height) const {
  return picture_bytes({}, parts_.vae.config().block_out_channels,
                       static_cast<int64_t>(at::elementSize(parts_.vae.dtype())), width, height,
                       false);
}

uint64_t SdxlPipeline::bytes_per_item(int64_t width, int64_t height, bool guidance) const {
  std::vector<int64_t> channels;
  for (const auto& level : parts_.unet.config().levels) channels.push_back(level.channels);
  return picture_bytes(channels, parts_.vae.config().block_out_channels,
                       static_cast<int64_t>(at::elementSize(parts_.unet.dtype())), width, height,
                       guidance);
}

}  // namespace backlot
