#include "nn/fused.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace backlot::fused {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

// What each operator means, in ATen's words.
namespace composed {

Tensor group_norm(const Tensor& x, const OptionalTensor& shift, int64_t groups,
                  const Tensor& weight, const Tensor& bias, double eps, bool silu) {
  const auto shifted = shift ? x + shift->unsqueeze(-1).unsqueeze(-1) : x;
  auto y = at::group_norm(shifted, groups, weight, bias, eps);
  return silu ? at::silu_(y) : y;
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                  const OptionalTensor& scale, const OptionalTensor& shift) {
  auto y = at::layer_norm(x, weight.sizes(), weight, bias, eps);
  if (scale) y = y * (1 + scale->unsqueeze(1));
  return shift ? y + shift->unsqueeze(1) : y;
}

Tensor add_layer_norm_(const Tensor& x, const Tensor& y, const Tensor& weight, const Tensor& bias,
                       double eps) {
  return at::layer_norm(x.add_(y), weight.sizes(), weight, bias, eps);
}

Tensor geglu(const Tensor& x) {
  const auto halves = x.chunk(2, -1);
  return at::gelu(halves[1]).mul_(halves[0]);
}

Tensor residual_(const Tensor& x, const OptionalTensor& bias, const Tensor& y, double scale) {
  if (bias) x.add_(bias->view({1, -1, 1, 1}));
  return x.add_(y, scale);
}

Tensor guide(const Tensor& output, const Tensor& scale) {
  const auto halves = output.to(at::kFloat).chunk(2);
  return halves[0] + scale * (halves[1] - halves[0]);
}

Tensor to_bytes(const Tensor& decoded) {
  const auto x = decoded.to(at::kFloat);
  const auto broken = at::isfinite(x).flatten(1).all(1).logical_not();  // [B]
  const auto pixels = x.mul(0.5).add_(0.5).clamp_(0, 1).mul_(255).round_().to(at::kByte);
  return at::cat({pixels.permute({0, 2, 3, 1}).flatten(), broken.to(at::kByte)});
}

}  // namespace composed

// The plugin's kernels are found through the operator, whenever they are loaded.
template <class Signature>
auto find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace

Tensor group_norm(const Tensor& x, const OptionalTensor& shift, int64_t groups,
                  const Tensor& weight, const Tensor& bias, double eps, Activation activation) {
  const bool silu = activation == Activation::silu;
  if (!x.is_cuda()) return composed::group_norm(x, shift, groups, weight, bias, eps, silu);
  static const auto op = find_operator<decltype(composed::group_norm)>("backlot::group_norm");
  return op.call(x, shift, groups, weight, bias, eps, silu);
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                  const OptionalTensor& scale, const OptionalTensor& shift) {
  if (!x.is_cuda()) return composed::layer_norm(x, weight, bias, eps, scale, shift);
  static const auto op = find_operator<decltype(composed::layer_norm)>("backlot::layer_norm");
  return op.call(x, weight, bias, eps, scale, shift);
}

Tensor add_layer_norm_(const Tensor& x, const Tensor& y, const Tensor& weight, const Tensor& bias,
                       double eps) {
  if (!x.is_cuda()) return composed::add_layer_norm_(x, y, weight, bias, eps);
  static const auto op =
      find_operator<decltype(composed::add_layer_norm_)>("backlot::add_layer_norm_");
  return op.call(x, y, weight, bias, eps);
}

Tensor geglu(const Tensor& x) {
  if (!x.is_cuda()) return composed::geglu(x);
  static const auto op = find_operator<decltype(composed::geglu)>("backlot::geglu");
  return op.call(x);
}

Tensor residual_(const Tensor& x, const OptionalTensor& bias, const Tensor& y, double scale) {
  if (!x.is_cuda()) return composed::residual_(x, bias, y, scale);
  static const auto op = find_operator<decltype(composed::residual_)>("backlot::residual_");
  return op.call(x, bias, y, scale);
}

Tensor guide(const Tensor& output, const Tensor& scale) {
  if (!output.is_cuda()) return composed::guide(output, scale);
  static const auto op = find_operator<decltype(composed::guide)>("backlot::guide");
  return op.call(output, scale);
}

Tensor to_bytes(const Tensor& decoded) {
  if (!decoded.is_cuda()) return composed::to_bytes(decoded);
  static const auto op = find_operator<decltype(composed::to_bytes)>("backlot::to_bytes");
  return op.call(decoded);
}

// CompositeExplicitAutograd: for any device that has no kernel of its own.
TORCH_LIBRARY(backlot, m) {
  m.def(
      "group_norm(Tensor x, Tensor? shift, int groups, Tensor weight, Tensor bias, float eps, "
      "bool silu) -> Tensor");
  m.def(
      "layer_norm(Tensor x, Tensor weight, Tensor bias, float eps, Tensor? scale, Tensor? shift) "
      "-> Tensor");
  m.def("add_layer_norm_(Tensor(a!) x, Tensor y, Tensor weight, Tensor bias, float eps) -> Tensor");
  m.def("geglu(Tensor x) -> Tensor");
  m.def("residual_(Tensor(a!) x, Tensor? bias, Tensor y, float scale) -> Tensor(a!)");
  m.def("guide(Tensor output, Tensor scale) -> Tensor");
  m.def("to_bytes(Tensor decoded) -> Tensor");
}

TORCH_LIBRARY_IMPL(backlot, CompositeExplicitAutograd, m) {
  m.impl("group_norm", composed::group_norm);
  m.impl("layer_norm", composed::layer_norm);
  m.impl("add_layer_norm_", composed::add_layer_norm_);
  m.impl("geglu", composed::geglu);
  m.impl("residual_", composed::residual_);
  m.impl("guide", composed::guide);
  m.impl("to_bytes", composed::to_bytes);
}

}  // namespace backlot::fused
