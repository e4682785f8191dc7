#include "nn/winograd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <functional>

namespace backlot {
namespace {

using kernels::bfloat16;
using kernels::Enlarge;
using kernels::WinogradShape;

// Tiles at a time: their transformed inputs should stay in a core's second-level cache, and the
// panels of weights should be used for many rows each.
constexpr int64_t most_tiles = 48, most_tiles_if_few = 96;

int64_t panels(const WinogradShape& shape) {
  return (shape.out + kernels::columns - 1) / kernels::columns;
}

// How a call is divided: blocks of tiles, and where they are too few for the threads, of columns.
struct Division {
  explicit Division(const WinogradShape& shape, int64_t batch) {
    tiles = shape.tiles() <= most_tiles_if_few ? shape.tiles() : most_tiles;
    blocks = (shape.tiles() + tiles - 1) / tiles;
    const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
    const int64_t wanted = threads > 1 ? 2 * threads : 1;
    const int64_t parts = std::clamp<int64_t>(wanted / (batch * blocks), 1, panels(shape));
    panels_each = (panels(shape) + parts - 1) / parts;
    columns = (panels(shape) + panels_each - 1) / panels_each;
  }
  int64_t tiles, blocks, panels_each, columns;
};

const bfloat16* bits(const Tensor& x) { return static_cast<const bfloat16*>(x.const_data_ptr()); }

Tensor channels_last(const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

}  // namespace

// Maps of one size, and where the input of each begins.
struct WinogradConv::Batch {
  WinogradShape shape;
  int64_t count;
  const bfloat16* in;
  std::function<int64_t(int64_t item)> in_offset;
  bfloat16* out;
  const float* bias;  // [count, out], or [out] with bias_stride 0
  int64_t bias_stride;
  const bfloat16* residual;
};

std::optional<WinogradConv> WinogradConv::make(const Tensor& weight, const Tensor& bias,
                                               Enlarge enlarge) {
  const WinogradShape shape{
      .in = weight.size(1), .out = weight.size(0), .height = 0, .width = 0, .enlarge = enlarge};
  return make(shape, weight, bias);
}

std::optional<WinogradConv> WinogradConv::make_over_frames(const Tensor& weight,
                                                           const Tensor& bias) {
  const WinogradShape shape{.in = weight.size(1) * weight.size(2),
                            .out = weight.size(0),
                            .height = 0,
                            .width = 0,
                            .enlarge = Enlarge::no,
                            .frames = weight.size(1)};
  return make(shape, weight.flatten(1, 2), bias);
}

std::optional<WinogradConv> WinogradConv::make(const WinogradShape& shape, const Tensor& weight,
                                               const Tensor& bias) {
  if (!weight.device().is_cpu() || weight.scalar_type() != at::kBFloat16 ||
      !kernels::has_bfloat16_dot() || kernels::has_bfloat16_tiles() || shape.in % 32 != 0 ||
      shape.in / shape.frames % kernels::lanes != 0 || shape.out % kernels::lanes != 0) {
    return std::nullopt;
  }
  const auto plain = weight.contiguous();
  auto packed = at::empty({shape.weight_values()}, plain.options());
  auto* out = static_cast<bfloat16*>(packed.mutable_data_ptr());
  at::parallel_for(0, panels(shape), 1, [&](int64_t begin, int64_t end) {
    kernels::pack_winograd_weight(shape, bits(plain), out, begin * kernels::columns,
                                  std::min(end * kernels::columns, shape.out));
  });
  return WinogradConv(shape, std::move(packed), bias.to(at::kFloat));
}

Tensor WinogradConv::operator()(const Tensor& x, const Tensor* shift,
                                const Tensor* residual) const {
  auto shape = shape_;
  const int64_t times = shape.enlarge == Enlarge::twice ? 2 : 1, batch = x.size(0);
  shape.height = times * x.size(2);
  shape.width = times * x.size(3);
  const auto in = channels_last(x);
  const auto added = residual ? channels_last(*residual) : Tensor();
  const auto bias = (shift ? bias_ + *shift : bias_.expand({batch, -1})).contiguous();  // [B, out]
  auto out = at::empty({batch, shape.out, shape.height, shape.width},
                       x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const int64_t in_values = in.numel() / batch;
  run({.shape = shape,
       .count = batch,
       .in = bits(in),
       .in_offset = [in_values](int64_t item) { return item * in_values; },
       .out = static_cast<bfloat16*>(out.mutable_data_ptr()),
       .bias = bias.const_data_ptr<float>(),
       .bias_stride = shape.out,
       .residual = residual ? bits(added) : nullptr});
  return out;
}

Tensor WinogradConv::over_frames(const Tensor& x, const Tensor* residual) const {
  auto shape = shape_;
  shape.height = x.size(2);
  shape.width = x.size(3);
  const int64_t past = shape.frames - 1, frames = x.size(1) - past;
  const auto added = residual ? residual->contiguous() : Tensor();
  auto out = at::empty({x.size(0), frames, shape.height, shape.width, shape.out}, x.options());
  const int64_t in_values = x.stride(1);
  TORCH_CHECK(x.is_contiguous());
  run({.shape = shape,
       .count = x.size(0) * frames,
       .in = bits(x),
       .in_offset = [=](int64_t item) { return (item + item / frames * past) * in_values; },
       .out = static_cast<bfloat16*>(out.mutable_data_ptr()),
       .bias = bias_.const_data_ptr<float>(),
       .bias_stride = 0,
       .residual = residual ? bits(added) : nullptr});
  return out;
}

void WinogradConv::run(const Batch& batch) const {
  const auto& shape = batch.shape;
  const Division division(shape, batch.count);
  const kernels::WinogradScratch scratch(shape, division.tiles);
  const int64_t out_values = shape.height * shape.width * shape.out;
  at::parallel_for(
      0, batch.count * division.blocks * division.columns, 1, [&](int64_t begin, int64_t end) {
        auto inputs = at::empty({scratch.inputs}, at::kBFloat16);
        auto sums = at::empty({scratch.sums}, at::kFloat);
        for (int64_t i = begin; i < end; ++i) {
          const int64_t column = i % division.columns, block = i / division.columns;
          const int64_t item = block / division.blocks, tile = block % division.blocks;
          const kernels::WinogradMaps maps{
              .in = batch.in + batch.in_offset(item),
              .out = batch.out + item * out_values,
              .bias = batch.bias + item * batch.bias_stride,
              .residual = batch.residual ? batch.residual + item * out_values : nullptr};
          kernels::winograd_tiles(
              shape, maps, bits(weight_), tile * division.tiles,
              std::min((tile + 1) * division.tiles, shape.tiles()), column * division.panels_each,
              std::min((column + 1) * division.panels_each, panels(shape)),
              static_cast<bfloat16*>(inputs.mutable_data_ptr()), sums.mutable_data_ptr<float>());
        }
      });
}

}  // namespace backlot
