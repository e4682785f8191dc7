#include "pipelines/guidance.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "nn/fused.h"
#include "pipelines/device_time.h"

namespace backlot {

Guidance::Guidance(const std::vector<double>& scales, const std::vector<double>& rescales,
                   at::Device device) {
  const auto column = [&](const std::vector<double>& values) {
    return upload(at::tensor(values, at::kFloat).view({-1, 1, 1, 1}), device);
  };
  scale = column(scales);
  if (std::any_of(rescales.begin(), rescales.end(), [](double r) { return r > 0; })) {
    rescale = column(rescales);
  }
}

at::Tensor Guidance::operator()(const at::Tensor& output) const {
  auto guided = fused::guide(output, scale);
  if (!rescale.defined()) return guided;
  const auto positive = output.chunk(2)[1].to(at::kFloat);
  const auto deviation = [](const at::Tensor& x) {
    return x.std(at::OptionalIntArrayRef({1, 2, 3}), std::optional<at::Scalar>(1), true);
  };
  const auto rescaled = guided * (deviation(positive) / deviation(guided));
  return rescale * rescaled + (1 - rescale) * guided;
}

}  // namespace backlot
