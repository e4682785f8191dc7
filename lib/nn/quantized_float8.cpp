#include "nn/quantized_float8.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace backlot {
namespace {

using at::Tensor;

constexpr double largest_e4m3 = 448;
// Scales of rows of zeros stay above zero.
constexpr double least_magnitude = 1e-12;
// What the kernels' rows have to be a multiple of.
constexpr int64_t alignment = 16;

// x: [M, K], w: [N, K] -> [M, N] bfloat16, the only dtype that row scales come with.
Tensor product(const Float8Rows& x, const Float8Rows& w, const std::optional<Tensor>& bias) {
  const auto w_scales = w.scales.t();  // [1, N]
  if (x.values.is_cuda()) {
    return at::_scaled_mm(x.values, w.values.t(), x.scales, w_scales, bias, {}, at::kBFloat16,
                          /*use_fast_accum=*/true);
  }
  // The CPU's operator has one scale a matrix: there the rows are scaled afterwards.
  const auto one = at::ones({}, x.scales.options());
  auto y = at::_scaled_mm(x.values, w.values.t(), one, one, {}, {}, at::kFloat);
  y.mul_(x.scales).mul_(w_scales);
  if (bias) y.add_(*bias);
  return y.to(at::kBFloat16);
}

class Float8Linear final : public QuantizedLayer {
 public:
  Float8Linear(const Tensor& weight, const std::optional<Tensor>& bias)
      : weight_(to_float8_rows(weight)),
        bias_(bias ? std::optional(bias->to(at::kBFloat16)) : std::nullopt) {}

  Tensor operator()(const Tensor& x) const override {
    auto shape = x.sizes().vec();
    shape.back() = weight_.values.size(0);
    const auto rows = to_float8_rows(x.reshape({-1, x.size(-1)}));
    return product(rows, weight_, bias_).to(x.scalar_type()).view(shape);
  }

 private:
  Float8Rows weight_;
  std::optional<Tensor> bias_;
};

}  // namespace

Float8Rows to_float8_rows(const Tensor& matrix) {
  const auto scales = matrix.abs().amax(1, true).to(at::kFloat).clamp_min(least_magnitude) /
                      largest_e4m3;  // [N, 1]
  const auto values =
      (matrix / scales).clamp(-largest_e4m3, largest_e4m3).to(at::kFloat8_e4m3fn).contiguous();
  return {values, scales};
}

namespace float8 {

std::shared_ptr<const QuantizedLayer> linear(const Tensor& weight,
                                             const std::optional<Tensor>& bias) {
  if (weight.size(0) % alignment != 0 || weight.size(1) % alignment != 0) return nullptr;
  return std::make_shared<Float8Linear>(weight, bias);
}

void insist_on(at::Device device) {
  try {
    const auto small = at::ones({alignment, alignment}, at::TensorOptions(device));
    product(to_float8_rows(small), to_float8_rows(small), {});
  } catch (const c10::Error&) {
    throw EnvironmentError("--quantize fp8",
                           "this GPU or LibTorch has no 8-bit floating-point products, which came "
                           "with the Ada and Hopper generations",
                           "leave it out here");
  }
}

}  // namespace float8
}  // namespace backlot
