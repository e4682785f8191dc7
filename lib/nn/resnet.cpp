#include "nn/resnet.h"

#include <ATen/ATen.h>

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

Tensor ResnetBlock2D::operator()(const Tensor& x, const Tensor* shift) const {
  auto h = conv1(norm1.silu(x));
  if (shift) h.add_(shift->unsqueeze(-1).unsqueeze(-1));
  h = conv2(norm2.silu(h));
  return h.add_(conv_shortcut ? (*conv_shortcut)(x) : x);
}

Tensor Upsample2D::operator()(const Tensor& x, int64_t height, int64_t width) const {
  return conv(at::upsample_nearest2d(x, {height, width}));
}

}  // namespace backlot
