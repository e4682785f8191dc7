#include "nn/packed_linear.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

namespace backlot {
namespace {

using kernels::bfloat16;
using kernels::Gate;
using kernels::LinearShape;

// Rows that pass by a panel of the weight before the next panel is read: as much as stays in the
// caches between two panels.
constexpr int64_t block_bytes = int64_t{8} << 20;

const bfloat16* bits(const Tensor& x) { return static_cast<const bfloat16*>(x.const_data_ptr()); }

// How a product is divided: blocks of rows, each with every panel.
struct Division {
  Division(const LinearShape& shape, int64_t count) : panels(shape.panels()) {
    const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
    const int64_t parts = (threads + panels - 1) / panels;  // few panels: rows for every thread
    rows = std::max<int64_t>(block_bytes / (2 * shape.in), 48);
    rows = (std::min(rows, (count + parts - 1) / parts) + 5) / 6 * 6;
    blocks = (count + rows - 1) / rows;
  }
  int64_t panels, rows, blocks;
};

}  // namespace

std::optional<PackedLinear> PackedLinear::make(const Tensor& weight,
                                               const std::optional<Tensor>& bias, Gate gate,
                                               kernels::Activation activation) {
  const int64_t rows = weight.size(0);
  const LinearShape shape{weight.size(1), gate == Gate::none ? rows : rows / 2, gate, activation};
  if (!weight.device().is_cpu() || weight.scalar_type() != at::kBFloat16 ||
      !kernels::has_bfloat16_dot() || kernels::has_bfloat16_tiles() || shape.in % 2 != 0 ||
      rows % (gate == Gate::none ? kernels::lanes : 2 * kernels::lanes) != 0) {
    return std::nullopt;
  }
  const auto plain = weight.contiguous();
  auto packed = at::empty({plain.numel()}, plain.options());
  auto* out = static_cast<bfloat16*>(packed.mutable_data_ptr());
  at::parallel_for(0, shape.panels(), 1, [&](int64_t begin, int64_t end) {
    kernels::pack_linear_weight(shape, bits(plain), out, begin, end);
  });
  return PackedLinear(shape, std::move(packed),
                      bias ? bias->to(at::kFloat).contiguous() : at::zeros({rows}, at::kFloat));
}

Tensor PackedLinear::operator()(const Tensor& x, const Tensor* residual) const {
  auto sizes = x.sizes().vec();
  sizes.back() = shape_.out;
  const auto in = x.contiguous();
  const auto added = residual ? residual->contiguous() : Tensor();
  auto out = at::empty(sizes, x.options());
  const int64_t count = in.numel() / shape_.in;
  if (count == 0) return out;
  const kernels::LinearRows rows{.in = bits(in),
                                 .out = static_cast<bfloat16*>(out.mutable_data_ptr()),
                                 .bias = bias_.const_data_ptr<float>(),
                                 .residual = residual ? bits(added) : nullptr};
  const Division division(shape_, count);
  at::parallel_for(0, division.blocks * division.panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / division.panels * division.rows, panel = i % division.panels;
      kernels::linear_rows(shape_, rows, bits(weight_), row, std::min(row + division.rows, count),
                           panel, panel + 1);
    }
  });
  return out;
}

}  // namespace backlot
