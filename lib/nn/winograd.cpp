#include "nn/winograd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

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

std::optional<WinogradConv> WinogradConv::make(const Tensor& weight, const Tensor& bias,
                                               Enlarge enlarge) {
  const WinogradShape shape{
      .in = weight.size(1), .out = weight.size(0), .height = 0, .width = 0, .enlarge = enlarge};
  if (!weight.device().is_cpu() || weight.scalar_type() != at::kBFloat16 ||
      !kernels::has_bfloat16_dot() || kernels::has_bfloat16_tiles() || shape.in % 32 != 0 ||
      shape.out % kernels::lanes != 0) {
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
  auto* to = static_cast<bfloat16*>(out.mutable_data_ptr());

  const Division division(shape, batch);
  const kernels::WinogradScratch scratch(shape, division.tiles);
  const int64_t in_values = in.numel() / batch, out_values = out.numel() / batch;
  at::parallel_for(
      0, batch * division.blocks * division.columns, 1, [&](int64_t begin, int64_t end) {
        auto inputs = at::empty({scratch.inputs}, at::kBFloat16);
        auto sums = at::empty({scratch.sums}, at::kFloat);
        for (int64_t i = begin; i < end; ++i) {
          const int64_t column = i % division.columns, block = i / division.columns;
          const int64_t item = block / division.blocks, tile = block % division.blocks;
          const kernels::WinogradMaps maps{
              .in = bits(in) + item * in_values,
              .out = to + item * out_values,
              .bias = bias.const_data_ptr<float>() + item * shape.out,
              .residual = residual ? bits(added) + item * out_values : nullptr};
          kernels::winograd_tiles(
              shape, maps, bits(weight_), tile * division.tiles,
              std::min((tile + 1) * division.tiles, shape.tiles()), column * division.panels_each,
              std::min((column + 1) * division.panels_each, panels(shape)),
              static_cast<bfloat16*>(inputs.mutable_data_ptr()), sums.mutable_data_ptr<float>());
        }
      });
  return out;
}

}  // namespace backlot
