#include "probe/kernel.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace backlot {

Workbench::Workbench(at::ScalarType dtype, at::Device device)
    : options_(at::TensorOptions().dtype(dtype).device(device)),
      random_("probe"),
      binding_(random_, dtype, device) {}

Tensor Workbench::input(std::vector<int64_t> shape) {
  auto& tensor = inputs_[shape];
  if (!tensor.defined()) tensor = random_.uniform("input", 1.0f, shape, options_);
  return tensor;
}

Tensor Workbench::map(int64_t batch, int64_t channels, int64_t height, int64_t width) {
  return input({batch, height, width, channels}).permute({0, 3, 1, 2});
}

void KernelPlan::add(std::string_view network, Kernel kernel, int64_t calls) {
  auto here = std::ranges::find(networks_, network, [](const auto& each) { return each.first; });
  if (here == networks_.end()) here = networks_.insert(here, {std::string(network), {}});
  auto& kernels = here->second;
  kernel.name = fmt::format("{}/{}", network, kernel.name);
  const auto [place, is_new] = places_.try_emplace({kernel.name, kernel.shape}, kernels.size());
  if (is_new) {
    kernel.calls = calls;
    kernels.push_back(std::move(kernel));
  } else {
    kernels[place->second].calls += calls;
  }
}

std::vector<Kernel> KernelPlan::take() {
  std::vector<Kernel> all;
  for (auto& [network, kernels] : networks_)
    all.insert(all.end(), std::make_move_iterator(kernels.begin()),
               std::make_move_iterator(kernels.end()));
  return all;
}

}  // namespace backlot
