#include "nn/modulation.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "nn/modulation_rows.h"

namespace backlot {
namespace {

// Rows that a thread takes at a time.
constexpr int64_t rows_at_once = 16;

bool has_rows_kernel(const Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

// Calls work(T*) with the type that the kernels have for x's values.
template <class Work>
void with_values(const Tensor& x, Work work) {
  if (x.scalar_type() == at::kFloat) return work(x.mutable_data_ptr<float>());
  return work(static_cast<uint16_t*>(x.mutable_data_ptr()));
}

// out: undefined where only the residual is to be added. factor, shift: [1 or B, D] float32.
void modulate_rows(const Tensor& x, const Tensor& out, const Tensor& factor, const Tensor& shift,
                   double eps, const GatedResidual* residual) {
  const int64_t length = x.size(1), width = x.size(2), count = x.size(0) * length;
  const auto y = residual ? residual->y.contiguous() : Tensor();
  const auto wide = [&](const Tensor& by_item) {
    return by_item.defined() ? by_item.to(at::kFloat).expand({x.size(0), width}).contiguous()
                             : Tensor();
  };
  const auto gate = wide(residual && residual->gate ? *residual->gate : Tensor());
  const auto factors = wide(factor), shifts = wide(shift);
  const auto of_item = [&](const Tensor& t, int64_t item) {
    return t.defined() ? t.const_data_ptr<float>() + item * width : nullptr;
  };
  with_values(x, [&](auto* values) {
    using T = std::remove_pointer_t<decltype(values)>;
    const auto* added = y.defined() ? static_cast<const T*>(y.const_data_ptr()) : nullptr;
    auto* to = out.defined() ? static_cast<T*>(out.mutable_data_ptr()) : nullptr;
    at::parallel_for(0, count, rows_at_once, [&](int64_t begin, int64_t end) {
      while (begin < end) {  // the rows of one item at a time
        const int64_t item = begin / length, last = std::min(end, (item + 1) * length);
        const int64_t at = begin * width;
        rows::modulate(rows::NormRows<T>{.x = values + at,
                                         .y = added ? added + at : nullptr,
                                         .out = to ? to + at : nullptr,
                                         .gate = of_item(gate, item),
                                         .factor = of_item(factors, item),
                                         .shift = of_item(shifts, item),
                                         .count = last - begin,
                                         .width = width,
                                         .eps = static_cast<float>(eps)});
        begin = last;
      }
    });
  });
}

Tensor rotate_pairs(const Tensor& x, const PairRotation& rotation) {
  const int64_t head_dim = rotation.cos.size(1);
  const auto heads = x.unflatten(2, at::IntArrayRef({-1, head_dim / 2, 2}));  // [B, L, H, K / 2, 2]
  const auto table = [&](const Tensor& t) { return t.view({1, t.size(0), 1, head_dim / 2, 2}); };
  return (heads * table(rotation.cos) + heads.flip(-1) * table(rotation.sin)).flatten(2);
}

}  // namespace

Tensor modulated_norm(Tensor& x, const Tensor& factor, const Tensor& shift, double eps,
                      const GatedResidual* residual) {
  if (has_rows_kernel(x) && x.is_contiguous()) {
    auto out = at::empty_like(x);
    modulate_rows(x, out, factor, shift, eps, residual);
    return out;
  }
  if (residual) add_gated(x, *residual);
  const auto normed = at::layer_norm(x.to(at::kFloat), {x.size(2)}, {}, {}, eps);
  return (normed * factor.unsqueeze(1) + shift.unsqueeze(1)).to(x.scalar_type());
}

void add_gated(Tensor& x, const GatedResidual& residual) {
  if (has_rows_kernel(x) && x.is_contiguous()) {
    return modulate_rows(x, {}, {}, {}, 0, &residual);
  }
  if (!residual.gate) {
    x.add_(residual.y);
  } else {
    x.copy_(x.to(at::kFloat) + residual.y.to(at::kFloat) * residual.gate->unsqueeze(1));
  }
}

Tensor rms_norm_rotated(const Tensor& x, const Tensor& weight, double eps,
                        const PairRotation* rotation) {
  const int64_t length = x.size(1), width = x.size(2);
  const bool rows_alike = x.stride(2) == 1 && x.stride(0) == length * x.stride(1);
  if (!has_rows_kernel(x) || !rows_alike) {
    const auto normed = at::rms_norm(x.to(at::kFloat), {width}, weight.to(at::kFloat), eps);
    return (rotation ? rotate_pairs(normed, *rotation) : normed).to(x.scalar_type());
  }
  const auto wide = weight.to(at::kFloat).contiguous();
  with_values(x, [&](auto* values) {
    using T = std::remove_pointer_t<decltype(values)>;
    at::parallel_for(0, x.size(0) * length, rows_at_once, [&](int64_t begin, int64_t end) {
      while (begin < end) {  // the rows of one item at a time: angles go by the place within it
        const int64_t place = begin % length, last = std::min(end, begin + length - place);
        const auto angles = [&](const Tensor& table) {
          return table.const_data_ptr<float>() + place * table.size(1);
        };
        rows::rms_norm_rotate(
            rows::RotateRows<T>{.x = values + begin * x.stride(1),
                                .weight = wide.const_data_ptr<float>(),
                                .cos = rotation ? angles(rotation->cos) : nullptr,
                                .sin = rotation ? angles(rotation->sin) : nullptr,
                                .count = last - begin,
                                .width = width,
                                .stride = x.stride(1),
                                .head_dim = rotation ? rotation->cos.size(1) : width,
                                .eps = static_cast<float>(eps)});
        begin = last;
      }
    });
  });
  return x;
}

}  // namespace backlot
