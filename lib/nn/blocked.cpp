#include "nn/blocked.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace backlot::blocked {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;
using Scalars = c10::List<std::optional<at::Scalar>>;

template <class Signature>
auto find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

bool has_bfloat16() {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq");
}

}  // namespace

bool serves(const Tensor& weight) {
  if (!weight.device().is_cpu() || !at::globalContext().hasMKLDNN()) return false;
  static const bool bfloat16 = has_bfloat16();
  return weight.scalar_type() == at::kFloat || (weight.scalar_type() == at::kBFloat16 && bfloat16);
}

Tensor linear_weight(const Tensor& weight) {
  static const auto reorder = find_operator<Tensor(const Tensor&, std::optional<int64_t>)>(
      "mkldnn::_reorder_linear_weight");
  return reorder.call(weight, std::nullopt);
}

Tensor conv2d_weight(const Tensor& weight, int64_t stride, int64_t padding) {
  static const auto reorder =
      find_operator<Tensor(const Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                           int64_t, at::OptionalIntArrayRef)>(
          "mkldnn::_reorder_convolution_weight");
  const int64_t one[] = {1, 1}, strides[] = {stride, stride}, paddings[] = {padding, padding};
  return reorder.call(weight.contiguous(at::MemoryFormat::ChannelsLast), paddings, strides, one, 1,
                      std::nullopt);
}

Tensor linear(const Tensor& x, const Tensor& weight, const OptionalTensor& bias) {
  static const auto linear =
      find_operator<Tensor(const Tensor&, const Tensor&, const OptionalTensor&, std::string_view,
                           Scalars, std::optional<std::string_view>)>("mkldnn::_linear_pointwise");
  return linear.call(x, weight, bias, "none", Scalars(), "");
}

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t stride,
              int64_t padding) {
  static const auto convolution =
      find_operator<Tensor(const Tensor&, const Tensor&, const OptionalTensor&, at::IntArrayRef,
                           at::IntArrayRef, at::IntArrayRef, int64_t, std::string_view, Scalars,
                           std::optional<std::string_view>)>("mkldnn::_convolution_pointwise");
  const int64_t one[] = {1, 1}, strides[] = {stride, stride}, paddings[] = {padding, padding};
  return convolution.call(x, weight, bias, paddings, strides, one, 1, "none", Scalars(), "");
}

}  // namespace backlot::blocked
