#include "pipelines/wan.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <array>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/sha256.h"
#include "pipelines/device_time.h"
#include "pipelines/precision.h"
#include "pipelines/tensor_errors.h"
#include "pipelines/wan_checkpoint.h"
#include "pipelines/wan_pipeline.h"
#include "schedulers/names.h"

namespace backlot {
namespace {

// More is worth the time that it takes to have it again from the system.
constexpr uint64_t most_idle_at_decoding = uint64_t{256} << 20;

bool guided(const VideoRequest& request) { return request.guidance_scale > 1; }

void stop_if_asked(const Progress& progress) {
  if (progress.stop_requested()) throw Interrupted();
}

// Wan predicts a flow: samplers of noise would turn it into nothing.
void insist_on_flow(const Json& config, const std::string& where) {
  const std::string name = config.at("_class_name");
  if (name.starts_with("FlowMatch") || config.value("prediction_type", "") == "flow_prediction")
    return;
  throw ItemError(where, fmt::format("{} does not sample flows, which this model predicts", name),
                  "leave scheduler out, or give one of flows: FlowMatchEulerDiscreteScheduler, or "
                  "UniPCMultistepScheduler with prediction_type flow_prediction");
}

// Pictures of one height side by side.
Picture in_a_row(const std::vector<Picture>& pictures) {
  Picture row;
  row.height = pictures.front().height;
  for (const auto& picture : pictures) row.width += picture.width;
  row.rgb.reserve(static_cast<size_t>(row.width * row.height * 3));
  for (int64_t y = 0; y < row.height; ++y)
    for (const auto& picture : pictures) {
      const auto begin = picture.rgb.begin() + y * picture.width * 3;
      row.rgb.insert(row.rgb.end(), begin, begin + picture.width * 3);
    }
  return row;
}

}  // namespace

WanPipeline::WanPipeline(WanParts parts)
    : parts_(std::move(parts)), meter_(parts_.device), loaded_(meter_.held()) {}

std::string WanPipeline::dtype() const { return precision_name(parts_.transformer.dtype()); }

bool WanPipeline::move_text_encoder(TextEncoderPlace place) {
  if (!parts_.text.move(place)) return false;
  loaded_ = meter_.held();
  return true;
}

PipelineMemory WanPipeline::memory() const {
  return {.before = parts_.memory_before,
          .loaded = loaded_,
          .peak = meter_.peak(),
          .peak_allocated = meter_.peak_allocated()};
}

// As the reference takes it: frames are rounded, sizes that don't fit are refused.
VideoRequest WanPipeline::checked(const VideoRequest& request,
                                  std::vector<std::string>& warnings) const {
  const auto& vae = parts_.vae.config();
  const auto refuse = [&](std::string what, std::string mend) {
    throw ItemError(parts_.where, std::move(what), std::move(mend));
  };
  const auto& patch = parts_.transformer.config().patch_size;
  const int64_t row = vae.scale_factor_spatial() * patch[1];
  const int64_t column = vae.scale_factor_spatial() * patch[2];
  if (request.width <= 0 || request.height <= 0 || request.height % row != 0 ||
      request.width % column != 0)
    refuse(fmt::format("cannot make a clip of {}x{}", request.width, request.height),
           fmt::format("give a width that is a multiple of {} and a height of {}", column, row));
  if (request.steps < 1)
    refuse(fmt::format("{} steps make no clip", request.steps), "give steps of 1 or more");
  if (request.frames < 1)
    refuse(fmt::format("{} frames make no clip", request.frames), "give frames of 1 or more");
  if (request.max_sequence_length < 1)
    refuse(fmt::format("max_sequence_length is {}", request.max_sequence_length),
           "give 1 or more; 512 is usual");
  if (request.guidance_scale_2 && !parts_.transformer_2)
    refuse("guidance_scale_2 is for models of two transformers", "leave it out");
  if (!(request.step_cache >= 0))
    refuse(fmt::format("step_cache is {:g}", request.step_cache), "give 0 or more; 0 is off");
  VideoRequest out = request;
  const int64_t chunk = vae.scale_factor_temporal();
  if (request.frames % chunk != 1) {
    out.frames = request.frames / chunk * chunk + 1;
    warnings.push_back(fmt::format("{} frames rounded to {}: a clip has {} N + 1", request.frames,
                                   out.frames, chunk));
  }
  return out;
}

WanTexts WanPipeline::encode(const VideoRequest& request, std::vector<std::string>& warnings) {
  WanTexts texts;
  const int64_t length = request.max_sequence_length;
  texts.positive = parts_.text.encode(request.prompt, length, warnings);
  if (guided(request))
    texts.negative = parts_.text.encode(request.negative_prompt, length, warnings);
  parts_.text.release();
  return texts;
}

VideoResult WanPipeline::generate(const VideoRequest& asked, const FrameTaker& take_frame,
                                  const VideoCheckpoints& checkpoints, Progress& progress) {
  const c10::InferenceMode inference;
  VideoResult result;
  in_our_words(parts_.where, [&] {
    const VideoRequest request = checked(asked, result.warnings);
    result.width = request.width;
    result.height = request.height;
    meter_.drop_idle();
    meter_.reset_peak();
    stop_if_asked(progress);
    const DeviceMark begun(parts_.device);
    progress.stage("text_encode");
    const WanTexts texts = encode(request, result.warnings);
    const DeviceMark encoded(parts_.device);
    progress.stage("denoise");
    const auto latents = denoise(request, texts, checkpoints, progress, result);
    const DeviceMark denoised(parts_.device);

    // The decoder's tensors are of other sizes than the denoiser's.
    if (meter_.idle() > most_idle_at_decoding) meter_.drop_idle();
    progress.stage("decode");
    decode(request, latents, take_frame, progress, result);
    const DeviceMark decoded(parts_.device);
    decoded.wait();
    result.seconds = {encoded.seconds_since(begun), denoised.seconds_since(encoded),
                      decoded.seconds_since(denoised)};
  });
  return result;
}

// What a checkpoint belongs to, besides the model, which its keeper answers for.
Json WanPipeline::about(const VideoRequest& request) const {
  Json parts = {{"prompt", request.prompt},
                {"negative_prompt", request.negative_prompt},
                {"seed", request.seed},
                {"steps", request.steps},
                {"guidance_scale", request.guidance_scale},
                {"guidance_scale_2", request.guidance_scale_2.value_or(-1)},
                {"size", {request.width, request.height, request.frames}},
                {"max_sequence_length", request.max_sequence_length},
                {"scheduler", request.scheduler}};
  if (request.step_cache > 0) parts["step_cache"] = request.step_cache;
  return {{"version", 1},
          {"request", sha256_hex(parts.dump(-1, ' ', false, Json::error_handler_t::replace))},
          {"device", parts_.device.is_cpu() ? "cpu" : "gpu"},
          {"dtype", dtype()}};
}

// -> [1, Z, f, h, w] float32
at::Tensor WanPipeline::denoise(const VideoRequest& request, const WanTexts& texts,
                                const VideoCheckpoints& checkpoints, Progress& progress,
                                VideoResult& result) {
  const auto config = resolve_scheduler_config(request.scheduler, parts_.scheduler_config);
  insist_on_flow(config, parts_.where);
  const auto scheduler = make_scheduler(request.scheduler, parts_.scheduler_config);
  scheduler->set_timesteps(request.steps);
  const auto& timesteps = scheduler->timesteps();
  const int64_t calls = timesteps.size(0);
  const double boundary =
      parts_.transformer_2 ? parts_.boundary_ratio * config.at("num_train_timesteps").get<double>()
                           : -1;

  const auto& vae = parts_.vae.config();
  NoiseBatch noise(
      {request.seed},
      {parts_.transformer.config().in_channels, vae.latent_frames(request.frames),
       request.height / vae.scale_factor_spatial(), request.width / vae.scale_factor_spatial()},
      parts_.device);
  auto latents = noise.draw();
  int64_t begin = 0;
  std::vector<at::Tensor> recalled;  // of the step cache
  if (!checkpoints.resume_from.empty()) {
    if (auto state =
            unpack_checkpoint(checkpoints.resume_from, about(request), *scheduler, parts_.device)) {
      begin = result.resumed_from = state->done;
      latents = state->latents.to(parts_.device);
      noise.set_state(0, state->noise);
      if (!state->more.empty()) {
        result.skipped_evaluations = state->more.back().item<int64_t>();
        state->more.pop_back();
        recalled = std::move(state->more);
      }
    } else {
      result.warnings.push_back("what an earlier try left does not fit; begun anew");
    }
  }
  result.evaluations = calls * (guided(request) ? 2 : 1);
  const auto is_low = [&](int64_t call) { return timesteps[call].item<double>() < boundary; };
  std::optional<WanDenoiser> denoiser;
  bool second = false;
  const auto keep = [&](int64_t done) {
    std::vector<at::Tensor> more;
    if (request.step_cache > 0) {
      more = denoiser->memory();
      more.push_back(at::scalar_tensor(result.skipped_evaluations, at::kLong));
    }
    checkpoints.keep(
        pack_checkpoint(about(request), done, latents, noise.state(0), *scheduler, more));
  };

  Pace pace(parts_.device);
  constexpr std::array<size_t, 1> items = {0};
  progress.denoising(items);
  int64_t kept = begin;
  for (int64_t call = begin; call < calls; ++call) {
    if (progress.stop_requested()) {
      if (checkpoints.keep && call > kept) keep(call);
      throw Interrupted();
    }
    const bool low = is_low(call);
    if (!denoiser || low != second) {
      denoiser.emplace(
          low ? *parts_.transformer_2 : parts_.transformer, texts,
          low ? request.guidance_scale_2.value_or(request.guidance_scale) : request.guidance_scale,
          request.step_cache);
      second = low;
      // What another transformer remembered is of no use to this one.
      if (!recalled.empty() && is_low(begin - 1) == low) denoiser->recall(recalled);
      recalled.clear();
    }
    const auto timestep = upload(timesteps.slice(0, call, call + 1), parts_.device);
    const int64_t skipped = denoiser->skipped();
    const auto output = (*denoiser)(scheduler->scale_model_input(latents, call), timestep,
                                    call == 0 || call + 1 == calls);
    result.skipped_evaluations += denoiser->skipped() - skipped;
    if (progress.wants_previews(call + 1, calls))
      show_preview(estimate_original(config, *scheduler, output, latents, call), progress);
    latents = scheduler->step(output, call, latents, [&] { return noise.draw(); });
    if (observer_) observer_(call, latents);
    pace.step();
    if (call + 1 < calls && checkpoints.due && checkpoints.keep && checkpoints.due(call + 1, calls))
      keep(kept = call + 1);
    progress.step(call + 1, calls);
  }
  return latents;
}

// The first, the middle and the last frame side by side.
void WanPipeline::show_preview(const at::Tensor& original, Progress& progress) {
  if (!previews_)
    previews_ = PreviewProjection::fit_to_clips(
        [this](const at::Tensor& latents) {
          std::vector<at::Tensor> frames;
          parts_.vae.decode(parts_.vae.unscale(latents.to(parts_.device, parts_.vae.dtype())),
                            [&](const at::Tensor& some) { frames.push_back(some); });
          return at::cat(frames, 2);
        },
        parts_.vae.config().z_dim);
  const auto z = original.squeeze(0).permute({1, 0, 2, 3});  // [f, Z, h, w]
  const int64_t frames = z.size(0);
  std::vector<at::Tensor> shown = {z[0]};
  if (frames > 2) shown.push_back(z[frames / 2]);
  if (frames > 1) shown.push_back(z[frames - 1]);
  const auto pictures = (*previews_)(at::stack(shown));
  if (!pictures.empty()) progress.preview(0, in_a_row(pictures));
}

// Frames of the chunk before are on their way while the next ones are decoded.
void WanPipeline::decode(const VideoRequest& request, const at::Tensor& latents,
                         const FrameTaker& take_frame, Progress& progress,
                         VideoResult& result) const {
  struct Chunk {
    PicturesInFlight pictures;
    DeviceMark there;
  };
  std::optional<Chunk> coming;
  const auto deliver = [&] {
    if (!coming) return;
    coming->there.wait();
    for (int64_t i = 0; i < coming->pictures.size(); ++i) {
      take_frame(coming->pictures.take(i));
      progress.step(++result.frames, request.frames);
    }
    coming.reset();
  };
  const auto take = [&](const at::Tensor& frames) {  // [1, 3, n, H, W]
    stop_if_asked(progress);
    PicturesInFlight pictures(frames.squeeze(0).permute({1, 0, 2, 3}));
    deliver();
    coming.emplace(Chunk{std::move(pictures), DeviceMark(parts_.device)});
    if (parts_.device.is_cpu()) deliver();
  };
  const auto z = parts_.vae.unscale(latents.to(parts_.vae.dtype()));
  parts_.vae.decode(z, take,
                    {.tiled = request.vae_tiling, .between = [&] { stop_if_asked(progress); }});
  deliver();
}

}  // namespace backlot
