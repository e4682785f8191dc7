// The tiny Wan models of the reference cases, and clips by them.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "pipelines/oracle_case.h"
#include "pipelines/wan.h"

namespace backlot {

inline VideoRequest request_of(const Json& job) {
  VideoRequest request;
  request.prompt = job.at("prompt");
  request.negative_prompt = job.value("negative_prompt", "");
  request.seed = job.at("seed");
  request.steps = job.at("steps");
  request.guidance_scale = job.at("guidance_scale");
  if (job.contains("guidance_scale_2")) request.guidance_scale_2 = job["guidance_scale_2"];
  request.width = job.at("width");
  request.height = job.at("height");
  request.frames = job.at("frames");
  request.max_sequence_length = job.at("max_sequence_length");
  request.scheduler = job.value("scheduler", Json());
  return request;
}

inline std::unique_ptr<VideoPipeline> load(const std::string& the_case,
                                           TextEncoderPlace place = TextEncoderPlace::held,
                                           Precision precision = Precision::float32) {
  const auto recorded = oracle_json(the_case);
  VideoPipelineOptions options;
  options.model = oracles() + "/" + the_case + "/" + recorded.at("model").get<std::string>();
  options.precision = precision;
  options.text_encoder = place;
  Silent silent;
  return load_wan(options, at::kCPU, silent);
}

struct Made {
  std::vector<Picture> frames;
  VideoResult result;
};

inline Made make(VideoPipeline& pipeline, const VideoRequest& request, Progress& progress,
                 const VideoCheckpoints& checkpoints = {}) {
  Made made;
  made.result = pipeline.generate(
      request, [&](Picture frame) { made.frames.push_back(std::move(frame)); }, checkpoints,
      progress);
  return made;
}

inline Made make(VideoPipeline& pipeline, const VideoRequest& request,
                 const VideoCheckpoints& checkpoints = {}) {
  Silent silent;
  return make(pipeline, request, silent, checkpoints);
}

inline bool same(const Made& a, const Made& b) {
  return std::ranges::equal(a.frames, b.frames, {}, &Picture::rgb, &Picture::rgb);
}

inline VideoRequest small_request() {
  VideoRequest request = request_of(oracle_json("wan-t2v").at("job"));
  request.frames = 5;
  request.steps = 4;
  return request;
}

// Asks to stop once so many steps are through.
struct StopsAfter : Silent {
  explicit StopsAfter(int64_t steps) : steps(steps) {}
  void stage(std::string_view name) override { denoising = name == "denoise"; }
  void step(int64_t done, int64_t) override { stop = denoising && done >= steps; }
  bool stop_requested() const override { return stop; }
  int64_t steps;
  bool denoising = false, stop = false;
};

}  // namespace backlot
