#include "nn/norm.h"

#include <ATen/ATen.h>

namespace backlot {

LayerNorm::LayerNorm(const Weights& w, int64_t width, double eps)
    : weight(w("weight", {width})), bias(w("bias", {width})), eps(eps) {}

Tensor LayerNorm::operator()(const Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, eps);
}

GroupNorm::GroupNorm(const Weights& w, int64_t groups, int64_t channels, double eps)
    : weight(w("weight", {channels})), bias(w("bias", {channels})), groups(groups), eps(eps) {}

Tensor GroupNorm::operator()(const Tensor& x) const {
  return at::group_norm(x, groups, weight, bias, eps);
}

Tensor GroupNorm::silu(const Tensor& x) const {
  auto y = (*this)(x);
  return at::silu_(y);
}

}  // namespace backlot
