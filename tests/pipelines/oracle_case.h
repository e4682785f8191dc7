// Recorded jobs of the reference, as requests, and what came of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "pipelines/sdxl.h"
#include "pipelines/sdxl_pipeline.h"

namespace backlot {

struct Silent : Progress {
  void stage(std::string_view) override {}
  void step(int64_t, int64_t) override {}
  bool stop_requested() const override { return false; }
};

inline std::string oracles() {
  const char* other = std::getenv("BACKLOT_ORACLES");
  return other ? other : BACKLOT_TEST_DATA "/oracles";
}

inline Json oracle_json(const std::string& name) {
  return Json::parse(read_file(oracles() + "/" + name + "/case.json"));
}

inline std::optional<Size> optional_size(const Json& job, const char* key) {
  if (!job.contains(key) || job.at(key).is_null()) return std::nullopt;
  return Size{job.at(key).at(0), job.at(key).at(1)};
}

// A request for each seed.
inline std::vector<ImageRequest> oracle_requests(const Json& job) {
  ImageRequest request;
  const auto text = [&](const char* key) -> std::optional<std::string> {
    if (!job.contains(key) || job.at(key).is_null()) return std::nullopt;
    return job.at(key).get<std::string>();
  };
  request.prompt = job.at("prompt").get<std::string>();
  request.prompt_2 = text("prompt_2");
  request.negative_prompt = text("negative_prompt");
  request.negative_prompt_2 = text("negative_prompt_2");
  request.steps = job.at("steps");
  request.guidance_scale = job.at("guidance_scale");
  request.guidance_rescale = job.value("guidance_rescale", 0.0);
  request.width = job.at("width");
  request.height = job.at("height");
  request.clip_skip = job.value("clip_skip", 0);
  request.original_size = optional_size(job, "original_size");
  request.target_size = optional_size(job, "target_size");
  request.negative_original_size = optional_size(job, "negative_original_size");
  request.negative_target_size = optional_size(job, "negative_target_size");
  request.crops_coords_top_left = optional_size(job, "crops_coords_top_left").value_or(Size{0, 0});
  request.scheduler = job.value("scheduler", Json());
  std::vector<ImageRequest> requests;
  const auto& seeds = job.at("seed");
  for (const auto& seed : seeds.is_array() ? seeds : Json::array({seeds})) {
    requests.push_back(request);
    requests.back().seed = seed;
  }
  return requests;
}

inline std::unique_ptr<ImagePipeline> load_for_test(
    const std::string& model, Precision precision = Precision::float32,
    const std::optional<std::string>& variant = std::nullopt) {
  Silent silent;
  return load_sdxl({.model = model, .variant = variant, .precision = precision}, at::kCPU, silent);
}

}  // namespace backlot
