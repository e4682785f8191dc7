// Memory plans in words, and as JSON.
#include <fmt/format.h>

#include "base/text.h"
#include "fleet/memory_plan.h"
#include "spec/spec.h"

namespace backlot {
namespace {

std::string parts(const Item& item, const NeededMemory& need) {
  std::string text =
      fmt::format("process {}, networks {}", human_bytes(need.fixed), human_bytes(need.networks));
  if (need.text_encoders > 0) text += ", text encoders " + human_bytes(need.text_encoders);
  return text + (by_video_model(item) ? ", the clip " : ", pictures ") + human_bytes(need.working);
}

// What could be asked for that fits, where the plan does not.
std::vector<std::string> what_would_fit(MemoryPlanner& planner, const Item& item,
                                        const DeviceMemory& device, const BatchPlan& plan) {
  std::vector<std::string> lines;
  if (plan.dtype == "float32") {
    const Manner narrow{.dtype = "bfloat16",
                        .text_encoders_out = true,
                        .tiled = plan.vae_tiling,
                        .text_encoder_on_host = plan.text_encoder_on_host};
    const uint64_t peak = planner.need(item, device, narrow, 1).peak();
    if (peak <= plan.allowed)
      lines.push_back(
          fmt::format("--allow-lower-precision would fit: bfloat16 needs {}", human_bytes(peak)));
  }
  Item smaller = item;
  const auto request = image_request(item);
  for (int64_t by = 2; by <= 8 && request.width / by >= 64 && request.height / by >= 64; by *= 2) {
    smaller.parameters["width"] = request.width / by / 64 * 64;
    smaller.parameters["height"] = request.height / by / 64 * 64;
    const Manner manner{.dtype = plan.dtype,
                        .text_encoders_out = true,
                        .tiled = plan.vae_tiling,
                        .text_encoder_on_host = plan.text_encoder_on_host};
    const uint64_t peak = planner.need(smaller, device, manner, 1).peak();
    if (peak > plan.allowed) continue;
    lines.push_back(fmt::format("{}x{} would fit, with {}", smaller.parameters["width"].dump(),
                                smaller.parameters["height"].dump(), human_bytes(peak)));
    break;
  }
  if (lines.empty()) lines.push_back("take a machine with more memory");
  return lines;
}

}  // namespace

Json to_json(const BatchPlan& plan) {
  return {{"device", plan.device},
          {"dtype", plan.dtype},
          {"batch", plan.batch},
          {"batch_wished", plan.wished > 0 ? Json(plan.wished) : Json()},
          {"vae_tiling", plan.vae_tiling},
          {"text_encoders_out", plan.text_encoders_out},
          {"text_encoder_on_host", plan.text_encoder_on_host},
          {"fits", plan.fits},
          {"bytes",
           {{"peak", plan.need.peak()},
            {"process", plan.need.fixed},
            {"networks", plan.need.networks},
            {"text_encoders", plan.need.text_encoders},
            {"pictures", plan.need.working},
            {"allowed", plan.allowed == unknown_allowance ? Json() : Json(plan.allowed)}}},
          {"measured", plan.need.measured},
          {"reasons", plan.reasons},
          {"warnings", plan.warnings}};
}

std::vector<std::string> memory_lines(MemoryPlanner& planner, const Item& item, int64_t items,
                                      const DeviceMemory& device) {
  const BatchPlan plan = planner.plan(item, items, device);
  std::vector<std::string> lines;
  const std::string each =
      device.workers > 1 ? fmt::format(" in each of {} workers", device.workers) : "";
  lines.push_back(fmt::format("{}, {}, {} together{}{}{}", plan.device, plan.dtype, plan.batch,
                              each, plan.vae_tiling ? ", decoded in tiles" : "",
                              plan.text_encoder_on_host ? ", text encoder on the host"
                              : plan.text_encoders_out  ? ", text encoders moved out"
                                                        : ""));
  const std::string allowed = plan.allowed == unknown_allowance
                                  ? ""
                                  : fmt::format(", of {} that {}", human_bytes(plan.allowed),
                                                each.empty() ? "may be taken" : "each may take");
  lines.push_back(fmt::format("{} at the peak{} ({}; {}){}", human_bytes(plan.need.peak()), each,
                              parts(item, plan.need), plan.need.measured ? "measured" : "estimated",
                              allowed));
  lines.insert(lines.end(), plan.reasons.begin(), plan.reasons.end());
  for (const auto& warning : plan.warnings) lines.push_back("warning: " + warning);
  if (!plan.fits)
    for (auto& line : what_would_fit(planner, item, device, plan)) lines.push_back(std::move(line));
  return lines;
}

}  // namespace backlot
