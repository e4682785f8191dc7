// Suite `video`: a video model's pipeline in this process, from prompts to frames, without encoding
// them.
#include <fmt/format.h>

#include <array>

#include "base/error.h"
#include "base/time.h"
#include "bench/bench.h"
#include "bench/stage_progress.h"
#include "engine/video.h"

namespace backlot {
namespace {

constexpr int usual_repeats = 3;

constexpr std::array prompts = {"a red fox runs through snow", "a boat on a lake in the wind",
                                "a cat plays with a ball", "clouds over a mountain"};

struct VideoCase {
  std::string name;
  VideoRequest request;
};

std::vector<VideoCase> video_cases(const BenchRequest& request, const std::string& dtype) {
  std::vector<VideoCase> cases;
  for (const auto& size : request.video_sizes)
    for (const int64_t frames : request.frames)
      for (const int64_t steps : request.video_steps) {
        VideoCase each;
        each.name = fmt::format("video/{}/{}/{}/{}x{}/steps-{}/guidance-{:g}", request.video_name,
                                request.device, dtype, size_name(size), frames, steps,
                                request.guidance_scale);
        each.request.width = size[1];
        each.request.height = size[0];
        each.request.frames = frames;
        each.request.steps = steps;
        each.request.guidance_scale = request.guidance_scale;
        if (request.wants(each.name)) cases.push_back(std::move(each));
      }
  return cases;
}

// Prompts differ from round to round: a pipeline keeps the encodings that it has.
VideoRequest request_of(const VideoCase& each, int round) {
  VideoRequest request = each.request;
  const auto at = static_cast<size_t>(round);
  request.prompt = fmt::format("{}, number {}", prompts[at % prompts.size()], round);
  request.negative_prompt = fmt::format("blurred, number {}", round);
  request.seed = static_cast<uint64_t>(round) + 1;
  return request;
}

void measure_repeats(Bench& bench, VideoPipeline& pipeline, const VideoCase& each,
                     StageProgress& progress, BenchCase& out) {
  std::vector<double> encode, denoise, decode, step;
  const int warm_up = bench.request().warm_up;
  const int rounds = warm_up + bench.request().repeats_or(usual_repeats);
  int64_t frames = 0;
  for (int round = 0; round < rounds; ++round) {
    bench.check_stop();
    progress.begin({fmt::format("{} {} {}", each.name, round < warm_up ? "warm-up" : "repeat",
                                round < warm_up ? round + 1 : round - warm_up + 1)});
    const Stopwatch watch;
    const VideoResult made = pipeline.generate(
        request_of(each, round), [](const Picture&) {}, {}, progress);
    const double seconds = watch.seconds();
    progress.end();
    if (round < warm_up) continue;
    frames = made.frames;
    out.seconds.push_back(seconds);
    encode.push_back(made.seconds.text_encode);
    denoise.push_back(made.seconds.denoise);
    decode.push_back(made.seconds.decode);
    step.push_back(progress.median_step());
  }
  out.stages = {{"text_encode", encode}, {"denoise", denoise}, {"decode", decode}, {"step", step}};
  out.parameters["frames"] = frames;
  out.figures["frames_per_second"] = static_cast<double>(frames) / out.summary().median;
  // Of the process or the device since the last clip began, weights included.
  if (const uint64_t peak = pipeline.memory().peak) out.figures["peak_bytes"] = peak;
}

void measure(Bench& bench, VideoPipeline& pipeline, const VideoCase& each) {
  const BenchRequest& request = bench.request();
  BenchCase out{.suite = "video", .name = each.name, .measures = "a clip"};
  out.parameters = {{"model", request.video_name},
                    {"device", request.device},
                    {"dtype", pipeline.dtype()},
                    {"threads", request.threads},
                    {"width", each.request.width},
                    {"height", each.request.height},
                    {"frames", each.request.frames},
                    {"steps", each.request.steps},
                    {"guidance_scale", request.guidance_scale},
                    {"random_texts", request.synthetic.has_value()}};
  StageProgress progress(bench.recorder(), bench.stop());
  try {
    measure_repeats(bench, pipeline, each, progress, out);
  } catch (const ItemError& error) {  // out of memory is one
    progress.end();
    out.error = error.problem();
    out.seconds.clear();
  }
  bench.add(std::move(out));
}

}  // namespace

void run_video_suite(Bench& bench) {
  const BenchRequest& request = bench.request();
  bench.recorder().name_thread("compute");
  bool said = false;
  for (const auto& dtype : request.dtypes) {
    const auto cases = video_cases(request, dtype);
    if (cases.empty()) continue;
    if (request.synthetic && !std::exchange(said, true))
      bench.note(request.video_name +
                 ": random hidden states stand in for the text encoder, which is not measured");
    StageProgress loading(bench.recorder(), bench.stop());
    VideoPipelineOptions options;
    options.model = request.video_model;
    options.variant = request.variant;
    options.precision = bench_precision(dtype);
    options.synthetic = request.synthetic;
    const auto pipeline = bench.engine().load_video_pipeline(options, loading);
    loading.end();
    for (const auto& each : cases) measure(bench, *pipeline, each);
  }
}

}  // namespace backlot
