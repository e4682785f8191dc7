#include "engine/probe.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "engine/video.h"

namespace backlot {
namespace {

enum class Makes { images, clips, neither };

struct Architecture {
  std::string_view name;
  Makes makes;
};

constexpr std::array architectures = {
    Architecture{"sdxl", Makes::images},         Architecture{"sdxl-turbo", Makes::images},
    Architecture{"wan-1.3b", Makes::clips},      Architecture{"wan-14b", Makes::clips},
    Architecture{"qwen2.5-7b", Makes::neither},  Architecture{"qwen3-vl-4b", Makes::neither},
    Architecture{"qwen3-vl-8b", Makes::neither},
};

// An architecture that makes these, or a pipeline's folder.
bool has_pipeline(std::string_view name, Makes makes) {
  const auto* found = std::ranges::find(architectures, name, &Architecture::name);
  if (found != architectures.end()) return found->makes == makes;
  std::error_code unreadable;
  return std::filesystem::exists(std::filesystem::path(name) / "model_index.json", unreadable);
}

}  // namespace

std::vector<std::string> synthetic_architectures() {
  std::vector<std::string> names;
  for (const auto& architecture : architectures) names.emplace_back(architecture.name);
  return names;
}

bool synthetic_pipeline(std::string_view name) { return has_pipeline(name, Makes::images); }

bool synthetic_video_pipeline(std::string_view name) { return has_pipeline(name, Makes::clips); }

}  // namespace backlot
