#include "pipelines/synthetic.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "engine/probe.h"

namespace backlot {

ModelFolder synthetic_model(const std::string& name) {
  const auto known = synthetic_architectures();
  if (std::ranges::find(known, name) == known.end()) {
    std::error_code unreadable;
    if (std::filesystem::exists(name, unreadable)) return ModelFolder::open(name);
    throw UsageError(name, "neither an architecture nor a model's folder",
                     fmt::format("architectures are {}", fmt::join(known, ", ")));
  }
  if (synthetic_pipeline(name)) return ModelFolder::published(name);
  throw UsageError(name, "is an architecture that makes no pictures",
                   "take sdxl, sdxl-turbo or a model's folder, or measure its kernels alone");
}

}  // namespace backlot
