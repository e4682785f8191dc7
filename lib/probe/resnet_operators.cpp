// Follows nn/resnet.cpp step by step.
#include "probe/operators.h"

namespace backlot::operators {

Habits::Habits(at::ScalarType dtype, at::Device device) {
  Workbench bench(dtype, device);
  constexpr int64_t channels = 64;  // which every kernel serves
  convs_leave_bias = Conv2d(bench.weights() / "conv", channels, channels).adds_bias_apart();
  linears_add_residual = Linear(bench.weights() / "linear", channels, channels).adds_residual();
}

std::vector<Kernel> resnet(const MapShape& x, int64_t out, int64_t groups, bool hears_time,
                           const Habits& habits) {
  const MapShape y = {x.batch, out, x.height, x.width};
  std::vector<Kernel> kernels = {group_norm_silu(x, groups)};
  if (habits.convs_leave_bias) {
    kernels.push_back(conv3x3(x, out, Adds::nothing));
    kernels.push_back(group_norm_silu_shifted(y, groups));
    kernels.push_back(conv3x3(y, out, Adds::nothing));
  } else {
    kernels.push_back(conv3x3(x, out, hears_time ? Adds::bias_and_shift : Adds::bias));
    kernels.push_back(group_norm_silu(y, groups));
    kernels.push_back(conv3x3(y, out, Adds::bias_and_residual));
  }
  if (x.channels != out) kernels.push_back(conv1x1(x, out));
  if (habits.convs_leave_bias) kernels.push_back(add_residual(y));
  return kernels;
}

}  // namespace backlot::operators
