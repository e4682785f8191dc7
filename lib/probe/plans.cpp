#include "probe/plans.h"

#include <fmt/format.h>

#include "base/error.h"
#include "pipelines/synthetic.h"

namespace backlot {

std::vector<Kernel> plan_kernels(const std::string& architecture, const PlanSize& size,
                                 at::ScalarType dtype, at::Device device) {
  if (size.batch < 1 || size.width < 1 || size.height < 1)
    throw UsageError(fmt::format("{} of {}x{}", size.batch, size.width, size.height),
                     "no kernel has such a shape", "give batch, width and height above zero");
  if (architecture == "wan-1.3b" || architecture == "wan-14b") return plan_wan(architecture, size);
  if (architecture == "qwen2.5-7b" || architecture == "qwen3-vl-4b" ||
      architecture == "qwen3-vl-8b")
    return plan_qwen(architecture, size);
  const auto model = synthetic_model(architecture);
  if (model.pipeline_class() != "StableDiffusionXLPipeline")
    throw LoadError(
        architecture,
        fmt::format("holds a {}, not a StableDiffusionXLPipeline", model.pipeline_class()),
        "give an SDXL model's folder");
  return plan_sdxl(model, size, dtype, device);
}

}  // namespace backlot
