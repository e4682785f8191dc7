#include "engine/cuda_settings.h"

#include <ATen/Context.h>
#include <ATen/SDPBackend.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"

namespace backlot {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// The kernels of attention to be tried first.
void prefer_attention(const std::string& wish) {
  std::vector<int64_t> order;
  for (const auto backend :
       {at::SDPBackend::flash_attention, at::SDPBackend::cudnn_attention,
        at::SDPBackend::efficient_attention, at::SDPBackend::math, at::SDPBackend::overrideable}) {
    order.push_back(static_cast<int64_t>(backend));
  }
  const std::vector<std::string> names = {"flash", "cudnn", "efficient", "math"};
  const auto found = std::find(names.begin(), names.end(), wish);
  if (found == names.end()) {
    throw EnvironmentError("BACKLOT_SDPA=" + wish, "no such kind of attention",
                           "use flash, cudnn, efficient or math, or unset the variable");
  }
  const auto first = order.begin() + (found - names.begin());
  std::rotate(order.begin(), first, first + 1);
  at::globalContext().setSDPPriorityOrder(order);
}

}  // namespace

void configure_cuda() {
  auto& context = at::globalContext();
  // float32 means float32: LibTorch would let convolutions round their inputs to 10 bits.
  context.setAllowTF32CuDNN(false);
  // Trying all of cuDNN's kernels for each new shape takes longer than a short run gains.
  const auto benchmark = variable("BACKLOT_CUDNN_BENCHMARK");
  if (!benchmark.empty() && benchmark != "0" && benchmark != "1") {
    throw EnvironmentError("BACKLOT_CUDNN_BENCHMARK=" + benchmark, "is neither 0 nor 1",
                           "use 1 for long runs of equal shapes, or unset the variable");
  }
  context.setBenchmarkCuDNN(benchmark == "1");
  if (const auto wish = variable("BACKLOT_SDPA"); !wish.empty()) prefer_attention(wish);
}

}  // namespace backlot
