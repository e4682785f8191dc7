// The tiny Wan models of the reference cases, and clips by them.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
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

// From what is kept after each of its steps but the last, the clip comes out the same to the bit.
// -> the clip, and what was kept.
inline std::pair<Made, std::vector<std::string>> expect_same_from_every_step(
    VideoPipeline& pipeline, const VideoRequest& request) {
  std::vector<std::string> kept;
  VideoCheckpoints keeping;
  keeping.due = [](int64_t, int64_t) { return true; };
  keeping.keep = [&](std::string blob) { kept.push_back(std::move(blob)); };
  Made whole = make(pipeline, request, keeping);
  for (size_t i = 0; i < kept.size(); ++i) {
    VideoCheckpoints resuming;
    resuming.resume_from = kept[i];
    const Made rest = make(pipeline, request, resuming);
    EXPECT_EQ(rest.result.resumed_from, int64_t(i) + 1);
    EXPECT_EQ(rest.result.skipped_evaluations, whole.result.skipped_evaluations);
    EXPECT_TRUE(same(rest, whole)) << "from step " << i + 1;
    EXPECT_TRUE(rest.result.warnings.empty());
  }
  return {std::move(whole), std::move(kept)};
}

// Asked to stop after so many steps, it keeps what there is and goes on from there.
inline void expect_goes_on_where_stopped(VideoPipeline& pipeline, const VideoRequest& request,
                                         int64_t steps) {
  std::string kept;
  VideoCheckpoints checkpoints;
  checkpoints.due = [](int64_t, int64_t) { return false; };
  checkpoints.keep = [&](std::string blob) { kept = std::move(blob); };
  StopsAfter stops(steps);
  EXPECT_THROW(make(pipeline, request, stops, checkpoints), Interrupted);
  ASSERT_FALSE(kept.empty());
  VideoCheckpoints resuming;
  resuming.resume_from = kept;
  const Made rest = make(pipeline, request, resuming);
  EXPECT_EQ(rest.result.resumed_from, steps);
  EXPECT_TRUE(same(rest, make(pipeline, request)));
}

}  // namespace backlot
