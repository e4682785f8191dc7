#include "pipelines/synthetic.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "engine/probe.h"
#include "engine/video.h"

namespace backlot {

namespace {

// `makes`: whether an architecture of that name is of the kind that is wanted.
ModelFolder folder_or_published(const std::string& name, bool makes, const char* what,
                                const char* mend) {
  const auto known = synthetic_architectures();
  if (std::ranges::find(known, name) != known.end()) {
    if (makes) return ModelFolder::published(name);
    throw UsageError(name, what, mend);
  }
  std::error_code unreadable;
  if (std::filesystem::exists(name, unreadable)) return ModelFolder::open(name);
  throw UsageError(name, "neither an architecture nor a model's folder",
                   fmt::format("architectures are {}", fmt::join(known, ", ")));
}

}  // namespace

ModelFolder synthetic_model(const std::string& name) {
  return folder_or_published(
      name, synthetic_pipeline(name), "is an architecture that makes no pictures",
      "take sdxl, sdxl-turbo or a model's folder, or measure its kernels alone");
}

ModelFolder synthetic_video_model(const std::string& name) {
  return folder_or_published(name, synthetic_video_pipeline(name),
                             "is an architecture that makes no clips",
                             "take wan-1.3b, wan-14b or a model's folder");
}

}  // namespace backlot
