#include "pipelines/sdxl.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <map>
#include <utility>

#include "base/error.h"
#include "pipelines/device_time.h"
#include "pipelines/guidance.h"
#include "pipelines/parallel_parts.h"
#include "pipelines/picture.h"
#include "pipelines/precision.h"
#include "pipelines/preview.h"
#include "pipelines/sdxl_pipeline.h"
#include "pipelines/tensor_errors.h"
#include "weights/memory.h"

namespace backlot {
namespace {

// More is worth the time that it takes to have it again from the system.
constexpr uint64_t most_idle_at_decoding = uint64_t{256} << 20;

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

// A batch's pictures while the device works on them; when its stages began and ended there.
struct SdxlPipeline::InFlight {
  explicit InFlight(at::Device device) : device(device) {}

  void mark() { marks.emplace_back(device); }

  DeliveredPicture deliver(size_t index) const {
    marks.back().sleep();
    const auto [slice, within] = places.at(index);
    const auto share = static_cast<double>(places.size());
    const auto stage = [&](size_t i) { return marks[i + 1].seconds_since(marks[i]) / share; };
    return {slices[slice].take(within), {stage(0), stage(1), stage(2)}};
  }

  at::Device device;
  std::vector<DeviceMark> marks;                   // the beginning and the end of each stage
  std::vector<PicturesInFlight> slices;            // what was decoded together
  std::vector<std::pair<size_t, int64_t>> places;  // of each result: its slice, and where in that
};

std::vector<ImageResult> SdxlPipeline::generate(std::span<const ImageRequest> batch,
                                                Progress& progress) {
  auto results = start(batch, progress);
  for (auto& result : results) {
    if (!result.delivery) continue;
    auto delivered = std::exchange(result.delivery, {})();
    result.picture = std::move(delivered.picture);
    result.seconds = delivered.seconds;
  }
  return results;
}

std::vector<ImageResult> SdxlPipeline::start(std::span<const ImageRequest> batch,
                                             Progress& progress) {
  try {
    return make(batch, progress);
  } catch (const OutOfMemory&) {
    // What recordings hold may be what is missing.
    if (!graphs_ || !graphs_->clear()) throw;
  }
  return make(batch, progress);
}

std::vector<ImageResult> SdxlPipeline::make(std::span<const ImageRequest> batch,
                                            Progress& progress) {
  if (batch.empty()) return {};
  const c10::InferenceMode inference;
  std::vector<ImageResult> results(batch.size());
  in_our_words(parts_.where, [&] {
    check(batch);
    begin_measuring(batch);
    const auto pictures = std::make_shared<InFlight>(parts_.device);
    pictures->places.resize(batch.size());
    stop_if_asked(progress);
    pictures->mark();
    progress.stage("text_encode");
    const auto prompts = parts_.prompts.encode(batch);
    pictures->mark();

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
    pictures->mark();

    // The decoder's tensors are of other sizes than the denoiser's.
    if (meter_.idle() > most_idle_at_decoding) meter_.drop_idle();
    progress.stage("decode");
    for (auto& [items, sample] : latents) {
      size_t slice = pictures->slices.size();
      decode(sample, batch[0].vae_tiling, std::ssize(batch), *pictures, progress);
      sample.reset();
      int64_t within = 0;
      for (const auto item : items) {
        pictures->places[item] = {slice, within++};
        if (within == pictures->slices[slice].size()) ++slice, within = 0;
      }
    }
    pictures->mark();

    for (size_t i = 0; i < batch.size(); ++i) {
      results[i].warnings = prompts[i].warnings;
      results[i].delivery = [pictures, i, where = parts_.where] {
        DeliveredPicture delivered;
        in_our_words(where, [&] { delivered = pictures->deliver(i); });
        return delivered;
      };
      if (!parts_.device.is_cpu()) continue;
      auto delivered = std::exchange(results[i].delivery, {})();
      results[i].picture = std::move(delivered.picture);
      results[i].seconds = delivered.seconds;
    }
    if (!graphs_) return;
    if (auto warning = graphs_->take_warning(); !warning.empty()) {
      results[0].warnings.push_back(std::move(warning));
    }
  });
  return results;
}

// What another kind of batch left for reuse is mostly of other sizes: it would only add to this
// one's peak.
void SdxlPipeline::begin_measuring(std::span<const ImageRequest> batch) {
  const auto& first = batch.front();
  const Footprint now(batch.size(), first.width, first.height, first.vae_tiling);
  if (now != std::exchange(footprint_, now)) meter_.drop_idle();
  meter_.reset_peak();
}

void SdxlPipeline::prepare(std::span<const ImageRequest> requests, int64_t together) {
  const c10::InferenceMode inference;
  in_our_words(parts_.where, [&] { parts_.prompts.prepare(requests, together); });
}

bool SdxlPipeline::move_text_encoders_out() {
  if (!parts_.prompts.move_out()) return false;
  loaded_ = meter_.held();
  return true;
}

PipelineMemory SdxlPipeline::memory() const {
  return {.before = parts_.memory_before,
          .loaded = loaded_,
          .peak = meter_.peak(),
          .peak_allocated = meter_.peak_allocated()};
}

// One for each part of the batch that is evaluated by itself.
std::vector<UNetConditioning> SdxlPipeline::condition(std::span<const ImageRequest> batch,
                                                      const Indices& items,
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
  const auto texts = at::stack(text), pools = at::stack(pooled);
  const auto ids = upload(at::tensor(time_ids, at::kFloat).view({-1, 6}), parts_.device);
  const auto times = upload(timesteps.to(at::kFloat), parts_.device);
  const int64_t rows = texts.size(0);
  const int64_t widest = parts_.unet.config().levels.back().channels;
  // A recording holds the whole batch.
  const auto count = graphs_ ? 1 : parts_in_parallel(parts_.device, widest, rows);
  std::vector<UNetConditioning> parts(count);
  each_part(rows, std::ssize(parts), [&](int64_t i, int64_t begin, int64_t end) {
    parts[i] = parts_.unet.condition(texts.slice(0, begin, end), pools.slice(0, begin, end),
                                     ids.slice(0, begin, end), times);
  });
  return parts;
}

// The denoiser's output for one call, in its dtype; `deep`: cached features of each part, or none.
at::Tensor SdxlPipeline::predict(const at::Tensor& input, std::span<const UNetConditioning> parts,
                                 int64_t call, uint64_t run, std::span<at::Tensor> deep) const {
  // Calls that reuse features are other work each time: those are not recorded.
  if (graphs_ && deep.empty()) return predict_recorded(input, parts[0], call, run);
  std::vector<at::Tensor> outputs(parts.size());
  each_part(input.size(0), std::ssize(parts), [&](int64_t i, int64_t begin, int64_t end) {
    outputs[i] =
        parts_.unet(input.slice(0, begin, end), parts[i], call, deep.empty() ? nullptr : &deep[i]);
  });
  return outputs.size() == 1 ? outputs[0] : at::cat(outputs);
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
  std::vector<at::Tensor> deep(first.cache > 1 ? conditioning.size() : 0);
  const uint64_t run = ++runs_;
  Pace pace(parts_.device);
  progress.denoising(items);
  for (int64_t call = 0; call < calls; ++call) {
    stop_if_asked(progress);
    auto input = scheduler->scale_model_input(latents, call);
    if (guided(first)) input = at::cat({input, input});
    if (whole[call]) std::fill(deep.begin(), deep.end(), at::Tensor());
    auto output = predict(input, conditioning, call, run, deep);
    output = guided(first) ? guidance(output) : output.to(at::kFloat);
    if (progress.wants_previews(call + 1, calls)) {
      const auto config = resolve_scheduler_config(first.scheduler, parts_.scheduler_config);
      show_previews(estimate_original(config, *scheduler, output, latents, call), items, progress);
    }
    latents = scheduler->step(output, call, latents, [&] { return noise.draw(); });
    if (observer_) observer_(call, latents);
    pace.step();
    progress.step(call + 1, calls);
  }
  return latents;
}

void SdxlPipeline::show_previews(const at::Tensor& latents, const Indices& items,
                                 Progress& progress) const {
  if (!previews_) previews_ = PreviewProjection::fit(parts_.vae, parts_.device);
  const auto pictures = (*previews_)(parts_.vae.unscale(latents));
  for (size_t i = 0; i < pictures.size(); ++i) progress.preview(items[i], pictures[i]);
}

void SdxlPipeline::decode(const at::Tensor& latents, bool tiled, int64_t total, InFlight& pictures,
                          Progress& progress) const {
  const auto z = parts_.vae.unscale(latents);
  const int64_t reduction = parts_.vae.config().reduction();
  const uint64_t each = decode_bytes(parts_.vae.config().block_out_channels,
                                     static_cast<int64_t>(at::elementSize(parts_.vae.dtype())),
                                     z.size(3) * reduction, z.size(2) * reduction);
  const auto slice = tiled ? 1 : std::max<int64_t>(1, decode_budget / std::max<uint64_t>(each, 1));
  int64_t decoded = 0;
  for (const auto& made : pictures.slices) decoded += made.size();
  for (const auto& part : z.split(slice)) {
    stop_if_asked(progress);
    const auto picture = tiled ? parts_.vae.decode_tiled(part, [&] { stop_if_asked(progress); })
                               : decode_together(part);
    pictures.slices.emplace_back(picture);
    progress.step(decoded += part.size(0), total);
  }
}

at::Tensor SdxlPipeline::decode_together(const at::Tensor& z) const {
  const int64_t widest = parts_.vae.config().block_out_channels.back();
  std::vector<at::Tensor> outputs(parts_in_parallel(parts_.device, widest, z.size(0)));
  each_part(z.size(0), std::ssize(outputs), [&](int64_t i, int64_t begin, int64_t end) {
    outputs[i] = parts_.vae.decode(z.slice(0, begin, end));
  });
  return outputs.size() == 1 ? outputs[0] : at::cat(outputs);
}

std::string SdxlPipeline::dtype() const { return precision_name(parts_.unet.dtype()); }

}  // namespace backlot
