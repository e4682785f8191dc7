#include "nn/frames.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <vector>

#include "nn/modulation_rows.h"

namespace backlot {
namespace {

constexpr int64_t past = 2;

// Pixels that a thread takes at a time.
constexpr int64_t pixels_at_once = 256;

bool has_rows_kernel(const Tensor& x) {
  return x.device().is_cpu() && x.is_contiguous() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

template <class T>
void unit_norm_rows(const Tensor& x, const Tensor& weight, bool silu, Tensor& out) {
  const auto* from = static_cast<const T*>(x.const_data_ptr());
  auto* to = static_cast<T*>(out.mutable_data_ptr());
  const int64_t width = weight.size(0);
  at::parallel_for(0, x.numel() / width, pixels_at_once, [&](int64_t begin, int64_t end) {
    rows::unit_norm(rows::UnitRows<T>{.x = from + begin * width,
                                      .out = to + begin * width,
                                      .weight = weight.const_data_ptr<float>(),
                                      .count = end - begin,
                                      .width = width,
                                      .silu = silu});
  });
}

// Frames before a clip's first, or what the slot has of them, into the first of `out`.
void fill_past(const Tensor& slot, Tensor& out) {
  auto before = out.narrow(1, 0, past);
  slot.defined() ? before.copy_(slot) : before.zero_();
}

// A copy: the frames that it came with would stay in memory otherwise.
void keep_last(const Tensor& frames, Tensor& slot) {
  slot = frames.narrow(1, frames.size(1) - past, past).clone();
}

Tensor space_after_past(const Tensor& x) {
  auto sizes = x.sizes().vec();
  sizes[1] += past;
  return at::empty(sizes, x.options());
}

// The channels of each frame and of the two before it side by side: [B, F, H, W, 3 C]
Tensor windows(const Tensor& x, int64_t stride = 1) {
  std::vector<Tensor> parts;
  for (int64_t i = 0; i <= past; ++i) {
    parts.push_back(x.slice(1, i, x.size(1) - past + i, stride));
  }
  return at::cat(parts, 4);
}

// [out, in, 3, ...] -> [out, 3 in, ...], as windows() lays channels out
Tensor over_windows(const Tensor& weight) { return weight.transpose(1, 2).flatten(1, 2); }

// Channels that the kernels don't take are filled up with zeros: the three of a picture are cheaper
// as sixteen there than as three elsewhere.
std::optional<WinogradConv> winograd_over_frames(const Tensor& weight, const Tensor& bias) {
  const int64_t more = (kernels::lanes - weight.size(0) % kernels::lanes) % kernels::lanes;
  const auto filled =
      more == 0 ? weight : at::constant_pad_nd(weight, {0, 0, 0, 0, 0, 0, 0, 0, 0, more});
  return WinogradConv::make_over_frames(filled.transpose(1, 2),
                                        more == 0 ? bias : at::constant_pad_nd(bias, {0, more}));
}

}  // namespace

Tensor to_maps(const Tensor& frames) { return frames.flatten(0, 1).permute({0, 3, 1, 2}); }

Tensor to_frames(const Tensor& maps, int64_t batch) {
  return maps.permute({0, 2, 3, 1}).contiguous().unflatten(0, at::IntArrayRef({batch, -1}));
}

Tensor after_past(const Tensor& x, Tensor& slot) {
  auto out = space_after_past(x);
  fill_past(slot, out);
  out.narrow(1, past, x.size(1)).copy_(x);
  keep_last(out, slot);
  return out;
}

PixelNorm::PixelNorm(const Weights& w, int64_t channels, int64_t ones) {
  std::vector<int64_t> shape(1 + ones, 1);
  shape[0] = channels;
  weight_ = w("gamma", shape).flatten().to(at::kFloat) * std::sqrt(static_cast<double>(channels));
}

void PixelNorm::write(const Tensor& x, bool silu, Tensor out) const {
  if (has_rows_kernel(x) && out.is_contiguous()) {
    return x.scalar_type() == at::kFloat ? unit_norm_rows<float>(x, weight_, silu, out)
                                         : unit_norm_rows<uint16_t>(x, weight_, silu, out);
  }
  const auto wide = x.to(at::kFloat);
  auto y = wide / at::linalg_vector_norm(wide, 2, {-1}, true).clamp_min(1e-12) * weight_;
  out.copy_(silu ? at::silu_(y) : y);
}

Tensor PixelNorm::operator()(const Tensor& x) const {
  auto out = at::empty_like(x);
  write(x, false, out);
  return out;
}

Tensor PixelNorm::silu_after_past(const Tensor& x, Tensor& slot) const {
  auto out = space_after_past(x);
  fill_past(slot, out);
  for (int64_t item = 0; item < x.size(0); ++item) {
    write(x[item], true, out[item].narrow(0, past, x.size(1)));
  }
  keep_last(out, slot);
  return out;
}

CausalConv3d::CausalConv3d(const Weights& w, int64_t in, int64_t out)
    : out_(out), weight_(w("weight", {out, in, 3, 3, 3})), bias_(w("bias", {out})) {
  if (!weight_.device().is_cpu()) {
    weight_ = weight_.contiguous(at::MemoryFormat::ChannelsLast3d);
    return;
  }
  winograd_ = winograd_over_frames(weight_, bias_);
  if (!winograd_) conv_.emplace(over_windows(weight_), bias_, w.quantization());
  weight_.reset();
  bias_.reset();
}

Tensor CausalConv3d::operator()(const Tensor& x, const Tensor* residual) const {
  if (winograd_) {
    if (residual && residual->size(4) % kernels::lanes == 0) {
      return winograd_->over_frames(x, residual);
    }
    const auto y = winograd_->over_frames(x).narrow(4, 0, out_).contiguous();
    return residual ? y + *residual : y;
  }
  if (conv_) {
    const auto maps = to_maps(windows(x));
    return to_frames(residual ? conv_->plus(maps, to_maps(*residual)) : (*conv_)(maps), x.size(0));
  }
  const auto y =
      at::conv3d(x.permute({0, 4, 1, 2, 3}), weight_, bias_, {1, 1, 1}, at::IntArrayRef({0, 1, 1}))
          .permute({0, 2, 3, 4, 1})
          .contiguous();
  return residual ? y + *residual : y;
}

LinearParameters pixelwise(const Weights& w, int64_t in, int64_t out, int64_t ones) {
  std::vector<int64_t> shape(2 + ones, 1);
  shape[0] = out;
  shape[1] = in;
  return {w("weight", shape).flatten(1), w("bias", {out}), w.quantization()};
}

TimeConv::TimeConv(const Weights& w, int64_t in, int64_t out, int64_t stride)
    : linear_(LinearParameters(over_windows(w("weight", {out, in, 3, 1, 1})).flatten(1),
                               w("bias", {out}), w.quantization())),
      stride_(stride) {}

Tensor TimeConv::operator()(const Tensor& x) const { return linear_(windows(x, stride_)); }

UpsampleFrames::UpsampleFrames(const Weights& w, int64_t in, int64_t out) {
  const auto weight = w("weight", {out, in, 3, 3}), bias = w("bias", {out});
  doubling_ = WinogradConv::make(weight, bias, kernels::Enlarge::twice);
  if (!doubling_) conv_.emplace(weight, bias, w.quantization());
}

Tensor UpsampleFrames::operator()(const Tensor& x) const {
  const auto maps = to_maps(x);
  return to_frames(
      doubling_ ? (*doubling_)(maps)
                : (*conv_)(at::upsample_nearest2d(maps, {2 * maps.size(2), 2 * maps.size(3)})),
      x.size(0));
}

DownsampleFrames::DownsampleFrames(const Weights& w, int64_t channels)
    : conv_(w, channels, channels, ConvShape{.stride = 2, .padding = 0}) {}

Tensor DownsampleFrames::operator()(const Tensor& x) const {
  return to_frames(conv_(at::constant_pad_nd(to_maps(x), {0, 1, 0, 1})), x.size(0));
}

}  // namespace backlot
