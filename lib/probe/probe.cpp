#include "probe/probe.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "pipelines/precision.h"
#include "pipelines/tensor_errors.h"
#include "probe/plans.h"
#include "probe/timing.h"

namespace backlot {
namespace {

// A network's weights come from memory each time, as there are more than any cache holds. So many
// layers of one shape take turns that theirs do too.
constexpr double cold_bytes = 256.0 * (1 << 20);
constexpr double most_layers = 64;

std::vector<Call> make_layers(const Kernel& kernel, double value_bytes, Workbench& bench) {
  const double each = std::max(kernel.weights * value_bytes, 1.0);
  const double wanted = kernel.weights == 0 ? 1.0 : std::ceil(cold_bytes / each);
  const auto layers = static_cast<int64_t>(std::clamp(wanted, 1.0, most_layers));
  std::vector<Call> calls;
  for (int64_t i = 0; i < layers; ++i) calls.push_back(kernel.make(bench));
  return calls;
}

KernelFigure measure(const Kernel& kernel, at::ScalarType dtype, at::Device device,
                     const KernelRequest& request, const Progress& progress) {
  if (kernel.float32_for_half && dtype == at::kHalf) dtype = at::kFloat;
  const auto value_bytes = static_cast<double>(at::elementSize(dtype));
  Workbench bench(dtype, device);
  const auto calls = make_layers(kernel, value_bytes, bench);
  const auto go_on = [&] {
    if (progress.stop_requested()) throw Interrupted();
  };
  return {.name = kernel.name,
          .shape = kernel.shape,
          .calls = kernel.calls,
          .flops = kernel.flops,
          .bytes = (kernel.weights + kernel.inputs + kernel.outputs) * value_bytes,
          .seconds = time_calls(calls, device, request.repeats, request.seconds_each, go_on)};
}

std::vector<Kernel> wanted_kernels(const KernelRequest& request, at::ScalarType dtype,
                                   at::Device device) {
  auto kernels = plan_kernels(request.architecture, {request.batch, request.width, request.height},
                              dtype, device);
  if (request.filters.empty()) return kernels;
  std::erase_if(kernels, [&](const Kernel& kernel) {
    return std::ranges::none_of(request.filters, [&](const std::string& part) {
      return kernel.name.find(part) != std::string::npos;
    });
  });
  if (kernels.empty())
    throw UsageError(fmt::format("{}", fmt::join(request.filters, ", ")),
                     fmt::format("no kernel of {} has this in its name", request.architecture),
                     "names are like unet/conv3x3; leave the filter out to see them all");
  return kernels;
}

}  // namespace

void measure_kernels(const KernelRequest& request, at::Device device, const KernelListener& report,
                     Progress& progress) {
  if (request.repeats < 1)
    throw UsageError(fmt::format("{} repeats", request.repeats), "measure nothing",
                     "give 1 or more");
  const auto dtype = choose_dtype(request.precision, device);
  const auto kernels = wanted_kernels(request, dtype, device);
  progress.stage("kernels");
  const c10::InferenceMode inference;
  int64_t done = 0;
  for (const auto& kernel : kernels) {
    in_our_words(kernel.name + " " + kernel.shape,
                 [&] { report(measure(kernel, dtype, device, request, progress)); });
    progress.step(++done, std::ssize(kernels));
  }
}

}  // namespace backlot
