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
#include "pipelines/scene_mixer.h"
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
  if (!request.scenes.empty()) {
    check_scenes(request.scenes);
    return request;
  }
  VideoRequest out = request;
  const int64_t chunk = vae.scale_factor_temporal();
  if (request.frames % chunk != 1) {
    out.frames = request.frames / chunk * chunk + 1;
    warnings.push_back(fmt::format("{} frames rounded to {}: a clip has {} N + 1", request.frames,
                                   out.frames, chunk));
  }
  out.scenes = {{request.prompt, request.negative_prompt, request.seed, out.frames}};
  return out;
}

// Rounded, they would not share the frames that they are to share.
void WanPipeline::check_scenes(const std::vector<VideoScene>& scenes) const {
  const int64_t chunk = parts_.vae.config().scale_factor_temporal();
  for (size_t i = 0; i < scenes.size(); ++i) {
    const VideoScene& scene = scenes[i];
    if (scene.frames < 1 || scene.frames % chunk != 1)
      throw ItemError(parts_.where,
                      fmt::format("{} frames make no scene: it has {} N + 1", scene.frames, chunk),
                      fmt::format("give 1 more than a multiple of {}", chunk));
    const int64_t before = scene.transition_frames;
    const int64_t behind = i + 1 < scenes.size() ? scenes[i + 1].transition_frames : 0;
    if (before < 0 || behind < 0 || (i == 0 && before > 0) || before + behind >= scene.frames)
      throw ItemError(parts_.where,
                      fmt::format("scene {} of {} frames can't share {} with the scene before and "
                                  "{} with the next",
                                  i + 1, scene.frames, before, behind),
                      "give shorter transitions or longer scenes");
  }
}

std::vector<WanTexts> WanPipeline::encode(const VideoRequest& request,
                                          std::vector<std::string>& warnings) {
  std::vector<WanTexts> all;
  const int64_t length = request.max_sequence_length;
  for (const auto& scene : request.scenes) {
    WanTexts& texts = all.emplace_back();
    texts.positive = parts_.text.encode(scene.prompt, length, warnings);
    if (guided(request))
      texts.negative = parts_.text.encode(scene.negative_prompt, length, warnings);
  }
  parts_.text.release();
  return all;
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
    const auto texts = encode(request, result.warnings);
    const DeviceMark encoded(parts_.device);
    progress.stage("denoise");
    auto latents = denoise(request, texts, checkpoints, progress, result);
    const DeviceMark denoised(parts_.device);

    // The decoder's tensors are of other sizes than the denoiser's.
    if (meter_.idle() > most_idle_at_decoding) meter_.drop_idle();
    progress.stage("decode");
    decode(request, std::move(latents), take_frame, progress, result);
    const DeviceMark decoded(parts_.device);
    decoded.wait();
    result.seconds = {encoded.seconds_since(begun), denoised.seconds_since(encoded),
                      decoded.seconds_since(denoised)};
  });
  return result;
}

// What a checkpoint belongs to, besides the model, which its keeper answers for.
Json WanPipeline::about(const VideoRequest& request) const {
  Json scenes = Json::array();
  for (const auto& scene : request.scenes)
    scenes.push_back({scene.prompt, scene.negative_prompt, scene.seed, scene.frames});
  Json parts = {{"scenes", std::move(scenes)},
                {"steps", request.steps},
                {"guidance_scale", request.guidance_scale},
                {"guidance_scale_2", request.guidance_scale_2.value_or(-1)},
                {"size", {request.width, request.height}},
                {"max_sequence_length", request.max_sequence_length},
                {"scheduler", request.scheduler}};
  if (request.step_cache > 0) parts["step_cache"] = request.step_cache;
  return {{"version", 2},
          {"request", sha256_hex(parts.dump(-1, ' ', false, Json::error_handler_t::replace))},
          {"device", parts_.device.is_cpu() ? "cpu" : "gpu"},
          {"dtype", dtype()}};
}

// A scene between two steps.
struct WanPipeline::Sampling {
  std::unique_ptr<Scheduler> scheduler;
  NoiseBatch noise;
  at::Tensor latents;  // [1, Z, f, h, w] float32
};

WanPipeline::Sampling WanPipeline::begin(const VideoRequest& request,
                                         const VideoScene& scene) const {
  auto scheduler = make_scheduler(request.scheduler, parts_.scheduler_config);
  scheduler->set_timesteps(request.steps);
  const auto& vae = parts_.vae.config();
  NoiseBatch noise(
      {scene.seed},
      {parts_.transformer.config().in_channels, vae.latent_frames(scene.frames),
       request.height / vae.scale_factor_spatial(), request.width / vae.scale_factor_spatial()},
      parts_.device);
  auto latents = noise.draw();
  return {std::move(scheduler), std::move(noise), std::move(latents)};
}

std::vector<at::Tensor> WanPipeline::denoise(const VideoRequest& request,
                                             const std::vector<WanTexts>& texts,
                                             const VideoCheckpoints& checkpoints,
                                             Progress& progress, VideoResult& result) {
  const auto config = resolve_scheduler_config(request.scheduler, parts_.scheduler_config);
  insist_on_flow(config, parts_.where);
  const double boundary =
      parts_.transformer_2 ? parts_.boundary_ratio * config.at("num_train_timesteps").get<double>()
                           : -1;
  std::vector<at::Tensor> finished;
  Sampling now = begin(request, request.scenes.front());
  const auto timesteps = now.scheduler->timesteps();
  const int64_t calls = timesteps.size(0);  // of each scene
  const int64_t total = calls * std::ssize(request.scenes);
  std::vector<at::Tensor> recalled;  // of the step cache
  if (!checkpoints.resume_from.empty()) {
    if (auto state = unpack_checkpoint(checkpoints.resume_from, about(request), *now.scheduler,
                                       parts_.device)) {
      result.resumed_from = state->done;
      for (const auto& scene : state->finished) finished.push_back(scene.to(parts_.device));
      // Of the length of the scene in the works, whose noise it draws.
      Sampling there = begin(request, request.scenes.at(finished.size()));
      there.scheduler = std::move(now.scheduler);
      now = std::move(there);
      now.latents = state->latents.to(parts_.device);
      now.noise.set_state(0, state->noise);
      if (!state->more.empty()) {
        result.skipped_evaluations = state->more.back().item<int64_t>();
        state->more.pop_back();
        recalled = std::move(state->more);
      }
    } else {
      result.warnings.push_back("what an earlier try left does not fit; begun anew");
    }
  }
  result.evaluations = total * (guided(request) ? 2 : 1);
  const auto is_low = [&](int64_t call) { return timesteps[call].item<double>() < boundary; };
  std::optional<WanDenoiser> denoiser;
  bool second = false;
  const auto keep = [&](int64_t done) {
    std::vector<at::Tensor> more;
    if (request.step_cache > 0) {
      if (denoiser) more = denoiser->memory();
      more.push_back(at::scalar_tensor(result.skipped_evaluations, at::kLong));
    }
    checkpoints.keep(pack_checkpoint(about(request), done, finished, now.latents,
                                     now.noise.state(0), *now.scheduler, more));
  };

  Pace pace(parts_.device);
  constexpr std::array<size_t, 1> items = {0};
  progress.denoising(items);
  int64_t kept = result.resumed_from;
  for (int64_t done = result.resumed_from; done < total;) {
    if (progress.stop_requested()) {
      if (checkpoints.keep && done > kept) keep(done);
      throw Interrupted();
    }
    const int64_t call = done % calls;
    const bool low = is_low(call);
    if (!denoiser || low != second) {
      denoiser.emplace(
          low ? *parts_.transformer_2 : parts_.transformer, texts[finished.size()],
          low ? request.guidance_scale_2.value_or(request.guidance_scale) : request.guidance_scale,
          request.step_cache);
      second = low;
      // What another transformer remembered is of no use to this one.
      if (!recalled.empty() && is_low(call - 1) == low) denoiser->recall(recalled);
      recalled.clear();
    }
    const auto timestep = upload(timesteps.slice(0, call, call + 1), parts_.device);
    const int64_t skipped = denoiser->skipped();
    const auto output = (*denoiser)(now.scheduler->scale_model_input(now.latents, call), timestep,
                                    call == 0 || call + 1 == calls);
    result.skipped_evaluations += denoiser->skipped() - skipped;
    if (progress.wants_previews(done + 1, total))
      show_preview(estimate_original(config, *now.scheduler, output, now.latents, call), progress);
    now.latents = now.scheduler->step(output, call, now.latents, [&] { return now.noise.draw(); });
    if (observer_) observer_(done, now.latents);
    pace.step();
    ++done;
    if (call + 1 == calls) {
      finished.push_back(now.latents);
      denoiser.reset();
      if (done < total) now = begin(request, request.scenes[finished.size()]);
    }
    if (done < total && checkpoints.due && checkpoints.keep && checkpoints.due(done, total))
      keep(kept = done);
    progress.step(done, total);
  }
  return finished;
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

void WanPipeline::decode(const VideoRequest& request, std::vector<at::Tensor> latents,
                         const FrameTaker& take_frame, Progress& progress,
                         VideoResult& result) const {
  const auto& scenes = request.scenes;
  int64_t total = 0;
  for (const auto& scene : scenes) total += scene.frames - scene.transition_frames;
  SceneMixer mixer([&](Picture frame) {
    take_frame(std::move(frame));
    progress.step(++result.frames, total);
  });
  for (size_t i = 0; i < scenes.size(); ++i) {
    mixer.begin(scenes[i].frames, scenes[i].transition_frames,
                i + 1 < scenes.size() ? scenes[i + 1].transition_frames : 0);
    decode_scene(
        request, std::exchange(latents[i], {}), [&](Picture frame) { mixer.add(std::move(frame)); },
        progress);
  }
}

// Frames of the chunk before are on their way while the next ones are decoded.
void WanPipeline::decode_scene(const VideoRequest& request, const at::Tensor& latents,
                               const FrameTaker& take, const Progress& progress) const {
  struct Chunk {
    PicturesInFlight pictures;
    DeviceMark there;
  };
  std::optional<Chunk> coming;
  const auto deliver = [&] {
    if (!coming) return;
    coming->there.wait();
    for (int64_t i = 0; i < coming->pictures.size(); ++i) take(coming->pictures.take(i));
    coming.reset();
  };
  const auto take_chunk = [&](const at::Tensor& frames) {  // [1, 3, n, H, W]
    stop_if_asked(progress);
    PicturesInFlight pictures(frames.squeeze(0).permute({1, 0, 2, 3}));
    deliver();
    coming.emplace(Chunk{std::move(pictures), DeviceMark(parts_.device)});
    if (parts_.device.is_cpu()) deliver();
  };
  const auto z = parts_.vae.unscale(latents.to(parts_.vae.dtype()));
  parts_.vae.decode(z, take_chunk,
                    {.tiled = request.vae_tiling, .between = [&] { stop_if_asked(progress); }});
  deliver();
}

}  // namespace backlot
