#include "engine/probe.h"

#include <algorithm>
#include <array>
#include <filesystem>

namespace backlot {
namespace {

struct Architecture {
  std::string_view name;
  bool makes_images;
};

constexpr std::array architectures = {
    Architecture{"sdxl", true},         Architecture{"sdxl-turbo", true},
    Architecture{"wan-1.3b", false},    Architecture{"wan-14b", false},
    Architecture{"qwen2.5-7b", false},  Architecture{"qwen3-vl-4b", false},
    Architecture{"qwen3-vl-8b", false},
};

}  // namespace

std::vector<std::string> synthetic_architectures() {
  std::vector<std::string> names;
  for (const auto& architecture : architectures) names.emplace_back(architecture.name);
  return names;
}

bool synthetic_pipeline(std::string_view name) {
  const auto* found = std::ranges::find(architectures, name, &Architecture::name);
  if (found != architectures.end()) return found->makes_images;
  std::error_code unreadable;
  return std::filesystem::exists(std::filesystem::path(name) / "model_index.json", unreadable);
}

}  // namespace backlot
