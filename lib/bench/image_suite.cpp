// Suite `image`: pipelines in this process, from prompts to pixels, without writing files.
#include <fmt/format.h>

#include <array>

#include "base/error.h"
#include "base/time.h"
#include "bench/bench.h"
#include "bench/stage_progress.h"

namespace backlot {
namespace {

constexpr int usual_repeats = 5;

constexpr std::array prompts = {"a red apple on a blue background",
                                "a cat face",
                                "a rocket",
                                "a green tree on a white background",
                                "a strawberry",
                                "a yellow car",
                                "an open book",
                                "a house on a pink background"};

struct ImageCase {
  std::string name;
  Size size{};
  int64_t steps = 0, batch = 0;
};

std::vector<ImageCase> image_cases(const BenchRequest& request, const std::string& dtype) {
  std::vector<ImageCase> cases;
  for (const auto& size : request.sizes)
    for (const int64_t steps : request.steps)
      for (const int64_t batch : request.batch_sizes) {
        ImageCase each{.name = fmt::format("{}/{}/steps-{}/guidance-{:g}/batch-{}",
                                           case_prefix("image", request, dtype), size_name(size),
                                           steps, request.guidance_scale, batch),
                       .size = size,
                       .steps = steps,
                       .batch = batch};
        if (request.wants(each.name)) cases.push_back(std::move(each));
      }
  return cases;
}

// Prompts differ within a batch and from round to round: a pipeline keeps the encodings that it
// has.
std::vector<ImageRequest> requests_for(const ImageCase& each, double guidance_scale, int round) {
  std::vector<ImageRequest> requests;
  for (int64_t i = 0; i < each.batch; ++i) {
    const auto at = static_cast<size_t>(i);
    std::string prompt = prompts[at % prompts.size()] + fmt::format(", number {}", round);
    if (at >= prompts.size()) prompt += fmt::format(" of {}", at);
    requests.push_back({.prompt = std::move(prompt),
                        .seed = static_cast<uint64_t>(i) + 1,
                        .steps = each.steps,
                        .guidance_scale = guidance_scale,
                        .width = each.size[1],
                        .height = each.size[0]});
  }
  return requests;
}

void measure_repeats(Bench& bench, ImagePipeline& pipeline, const ImageCase& each,
                     StageProgress& progress, BenchCase& out) {
  const auto batch = static_cast<double>(each.batch);
  std::vector<double> encode, denoise, decode, step;
  const int warm_up = bench.request().warm_up;
  const int rounds = warm_up + bench.request().repeats_or(usual_repeats);
  for (int round = 0; round < rounds; ++round) {
    bench.check_stop();
    std::vector<std::string> items;
    for (int64_t i = 0; i < each.batch; ++i)
      items.push_back(fmt::format("{} {} {} #{}", each.name, round < warm_up ? "warm-up" : "repeat",
                                  round < warm_up ? round + 1 : round - warm_up + 1, i + 1));
    const auto requests = requests_for(each, bench.request().guidance_scale, round);
    progress.begin(std::move(items));
    const Stopwatch watch;
    const auto results = pipeline.generate(requests, progress);
    const double seconds = watch.seconds();
    progress.end();
    if (round < warm_up) continue;
    out.seconds.push_back(seconds / batch);
    encode.push_back(results.front().seconds.text_encode);
    denoise.push_back(results.front().seconds.denoise);
    decode.push_back(results.front().seconds.decode);
    step.push_back(progress.median_step() / batch);
  }
  out.stages = {{"text_encode", encode}, {"denoise", denoise}, {"decode", decode}, {"step", step}};
  out.figures["pictures_per_second"] = 1 / out.summary().median;
}

void measure(Bench& bench, ImagePipeline& pipeline, const ImageCase& each, bool draw) {
  const BenchRequest& request = bench.request();
  BenchCase out{.suite = "image",
                .name = each.name,
                .measures = "a picture",
                .parameters = {{"model", request.model_name},
                               {"device", request.device},
                               {"dtype", pipeline.dtype()},
                               {"threads", request.threads},
                               {"width", each.size[1]},
                               {"height", each.size[0]},
                               {"steps", each.steps},
                               {"guidance_scale", request.guidance_scale},
                               {"batch", each.batch}}};
  StageProgress progress(bench.recorder(), bench.stop());
  try {
    measure_repeats(bench, pipeline, each, progress, out);
  } catch (const ItemError& error) {  // out of memory is one
    progress.end();
    out.error = error.problem();
    out.seconds.clear();
  }
  if (draw && out.error.empty()) {
    const auto spans = bench.recorder().spans();
    double begin = 0;
    for (const auto& span : spans)
      if (span.name == "text_encode" && span.category == "stage") begin = span.begin;
    bench.add(make_timeline(each.name, spans, begin,
                            [](const TraceSpan&) { return std::string("computing thread"); }));
  }
  bench.add(std::move(out));
}

}  // namespace

void run_image_suite(Bench& bench) {
  const BenchRequest& request = bench.request();
  bench.recorder().name_thread("compute");
  bool first = true;
  for (const auto& dtype : request.dtypes) {
    const auto cases = image_cases(request, dtype);
    if (cases.empty()) continue;
    StageProgress loading(bench.recorder(), bench.stop());
    const auto pipeline = bench.engine().load_image_pipeline({.model = request.model,
                                                              .variant = request.variant,
                                                              .precision = bench_precision(dtype),
                                                              .synthetic = request.synthetic},
                                                             loading);
    loading.end();
    for (const auto& each : cases) {
      measure(bench, *pipeline, each, first);
      first = false;
    }
  }
}

}  // namespace backlot
