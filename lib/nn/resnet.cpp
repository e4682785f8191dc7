#include "nn/resnet.h"

#include <ATen/ATen.h>

#include "nn/fused.h"

namespace backlot {

ResnetBlock2D::ResnetBlock2D(const Weights& w, const ResnetShape& shape)
    : norm1(w / "norm1", shape.groups, shape.in, shape.eps),
      conv1(w / "conv1", shape.in, shape.out),
      norm2(w / "norm2", shape.groups, shape.out, shape.eps),
      conv2(w / "conv2", shape.out, shape.out) {
  if (shape.time_width > 0)
    time_emb_proj.emplace((w / "time_emb_proj").in_full(), shape.time_width, shape.out);
  if (shape.in != shape.out) conv_shortcut.emplace(w / "conv_shortcut", shape.in, shape.out);
}

Tensor ResnetBlock2D::time_shift(const Tensor& activated) const {
  const auto shift = (*time_emb_proj)(activated);
  return conv1.adds_bias_apart() ? shift + conv1.bias() : shift;
}

Tensor ResnetBlock2D::operator()(const Tensor& x, const Tensor* shift) const {
  if (conv1.adds_bias_apart()) {
    const auto h = conv1.without_bias(norm1.silu(x));
    const auto y = norm2.silu_shifted(h, shift ? *shift : conv1.bias().unsqueeze(0));
    return fused::residual_(conv2.without_bias(y), conv2.bias(),
                            conv_shortcut ? (*conv_shortcut)(x) : x);
  }
  auto h = norm1.silu(x);
  h = shift ? conv1.shifted(h, *shift) : conv1(h);
  return conv2.plus(norm2.silu(h), conv_shortcut ? (*conv_shortcut)(x) : x);
}

Upsample2D::Upsample2D(const Weights& w, int64_t channels)
    : conv(w / "conv", channels, channels),
      doubling(WinogradConv::make((w / "conv")("weight", {channels, channels, 3, 3}),
                                  (w / "conv")("bias", {channels}), kernels::Enlarge::twice)) {}

Tensor Upsample2D::operator()(const Tensor& x, int64_t height, int64_t width) const {
  if (doubling && height == 2 * x.size(2) && width == 2 * x.size(3)) return (*doubling)(x);
  return conv(at::upsample_nearest2d(x, {height, width}));
}

}  // namespace backlot
