#include "nn/norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "nn/fused.h"
#include "nn/group_norm_rows.h"

namespace backlot {
namespace {

// Rows that one thread takes at a time: enough work to be worth waking it.
int64_t rows_a_chunk(int64_t channels) { return std::max<int64_t>(16, 32768 / channels); }

struct Rows {
  int64_t batch, pixels, channels, chunk, chunks;  // `chunks` of a batch item
};

// For each chunk: item, its number within the item, first row counted over the batch, rows.
template <class Work>
void each_chunk(const Rows& rows, Work work) {
  at::parallel_for(0, rows.batch * rows.chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t item = i / rows.chunks, first = i % rows.chunks * rows.chunk;
      work(i, item * rows.pixels + first, std::min(rows.chunk, rows.pixels - first), item);
    }
  });
}

struct Moments {
  std::vector<double> sums;   // [B, chunks, 2, C]: of distances from the pivot, of their squares
  std::vector<float> pivots;  // [B, C]
};

struct MeanAndVariance {
  double mean, variance;
};

// Of the channels [begin, end) together: each channel's own, then the spread of their means (Chan,
// Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances).
MeanAndVariance combine(const Rows& rows, const Moments& moments, int64_t item, int64_t begin,
                        int64_t end) {
  const auto count = static_cast<double>(rows.pixels);
  std::vector<double> means;
  double spread = 0, total = 0;
  for (int64_t i = begin; i < end; ++i) {
    double sum = 0, squares = 0;
    for (int64_t chunk = 0; chunk < rows.chunks; ++chunk) {
      const double* at = &moments.sums[(item * rows.chunks + chunk) * 2 * rows.channels + i];
      sum += at[0];
      squares += at[rows.channels];
    }
    means.push_back(moments.pivots[item * rows.channels + i] + sum / count);
    total += means.back();
    spread += squares - sum * sum / count;
  }
  const auto width = static_cast<double>(end - begin);
  const double mean = total / width;
  for (const double each : means) spread += count * (each - mean) * (each - mean);
  return {mean, std::max(spread / (count * width), 0.0)};
}

// What group normalisation multiplies each channel by and adds to it: [B, 2, C] float32.
std::vector<float> coefficients(const Rows& rows, const Moments& moments, int64_t groups,
                                const float* weight, const float* bias, double eps) {
  const int64_t c = rows.channels, width = c / groups;
  std::vector<float> out(static_cast<size_t>(rows.batch * 2 * c));
  for (int64_t item = 0; item < rows.batch; ++item) {
    float* scale = out.data() + item * 2 * c;
    for (int64_t begin = 0; begin < c; begin += width) {
      const auto [mean, variance] = combine(rows, moments, item, begin, begin + width);
      const double rstd = 1 / std::sqrt(variance + eps);
      for (int64_t i = begin; i < begin + width; ++i) {
        scale[i] = static_cast<float>(rstd * weight[i]);
        scale[c + i] = static_cast<float>(bias[i] - mean * rstd * weight[i]);
      }
    }
  }
  return out;
}

template <bool silu, class T>
Tensor normalise_rows(const Tensor& x, const GroupNorm& norm) {
  const Rows shape = [&] {
    const int64_t pixels = x.size(2) * x.size(3), chunk = rows_a_chunk(x.size(1));
    return Rows{x.size(0), pixels, x.size(1), chunk, (pixels + chunk - 1) / chunk};
  }();
  const int64_t c = shape.channels;
  auto y = at::empty_like(x);
  const auto* in = static_cast<const T*>(x.const_data_ptr());
  auto* out = static_cast<T*>(y.mutable_data_ptr());

  Moments moments{std::vector<double>(static_cast<size_t>(shape.batch * shape.chunks * 2 * c)),
                  std::vector<float>(static_cast<size_t>(shape.batch * c))};
  for (int64_t item = 0; item < shape.batch; ++item) {
    rows::widen_row(in + item * shape.pixels * c, c, moments.pivots.data() + item * c);
  }
  each_chunk(shape, [&](int64_t i, int64_t row, int64_t count, int64_t item) {
    double* at = moments.sums.data() + i * 2 * c;
    rows::add_moments(in + row * c, in + item * shape.pixels * c, count, c, at, at + c);
  });
  const auto weight = norm.weight.to(at::kFloat), bias = norm.bias.to(at::kFloat);
  const auto by_channel = coefficients(shape, moments, norm.groups, weight.const_data_ptr<float>(),
                                       bias.const_data_ptr<float>(), norm.eps);
  each_chunk(shape, [&](int64_t, int64_t row, int64_t count, int64_t item) {
    const float* scale = by_channel.data() + item * 2 * c;
    const auto apply = [&](auto kernel) {
      kernel(in + row * c, out + row * c, count, c, scale, scale + c);
    };
    if constexpr (silu) {
      apply([](auto... a) { rows::scale_shift_silu(a...); });
    } else {
      apply([](auto... a) { rows::scale_and_shift(a...); });
    }
  });
  return y;
}

bool has_rows_kernel(const Tensor& x) {
  return x.device().is_cpu() && x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

template <bool silu>
Tensor normalise(const Tensor& x, const GroupNorm& norm) {
  if (has_rows_kernel(x)) {
    return x.scalar_type() == at::kFloat ? normalise_rows<silu, float>(x, norm)
                                         : normalise_rows<silu, uint16_t>(x, norm);
  }
  return fused::group_norm(x, {}, norm.groups, norm.weight, norm.bias, norm.eps,
                           silu ? fused::Activation::silu : fused::Activation::none);
}

}  // namespace

LayerNorm::LayerNorm(const Weights& w, int64_t width, double eps)
    : weight(w("weight", {width})), bias(w("bias", {width})), eps(eps) {}

Tensor LayerNorm::operator()(const Tensor& x) const {
  return fused::layer_norm(x, weight, bias, eps);
}

Tensor LayerNorm::after_adding(const Tensor& x, const Tensor& y) const {
  return fused::add_layer_norm_(x, y, weight, bias, eps);
}

GroupNorm::GroupNorm(const Weights& w, int64_t groups, int64_t channels, double eps)
    : weight(w("weight", {channels})), bias(w("bias", {channels})), groups(groups), eps(eps) {}

Tensor GroupNorm::operator()(const Tensor& x) const { return normalise<false>(x, *this); }

Tensor GroupNorm::silu(const Tensor& x) const { return normalise<true>(x, *this); }

Tensor GroupNorm::silu_shifted(const Tensor& x, const Tensor& shift) const {
  if (has_rows_kernel(x)) return silu(x.add_(shift.unsqueeze(-1).unsqueeze(-1)));
  return fused::group_norm(x, shift, groups, weight, bias, eps, fused::Activation::silu);
}

}  // namespace backlot
