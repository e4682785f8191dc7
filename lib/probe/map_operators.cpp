#include <ATen/ATen.h>
#include <fmt/format.h>

#include "nn/fused.h"
#include "probe/operators.h"

namespace backlot::operators {
namespace {

double count(const MapShape& x) {
  return static_cast<double>(x.batch) * static_cast<double>(x.channels) *
         static_cast<double>(x.height) * static_cast<double>(x.width);
}

std::string text(const MapShape& x) {
  return fmt::format("{}x{}x{}x{}", x.batch, x.channels, x.height, x.width);
}

Tensor map_of(Workbench& bench, const MapShape& x) {
  return bench.map(x.batch, x.channels, x.height, x.width);
}

enum class Norm { plain, silu, silu_shifted };

Kernel normalisation(const MapShape& x, int64_t groups, Norm kind) {
  return {.name = kind == Norm::plain  ? "group_norm"
                  : kind == Norm::silu ? "group_norm_silu"
                                       : "group_norm_silu_shifted",
          .shape = text(x),
          .weights = 2.0 * static_cast<double>(x.channels),
          .inputs = count(x) +
                    (kind == Norm::silu_shifted ? static_cast<double>(x.batch * x.channels) : 0.0),
          .outputs = count(x),
          .make = [=](Workbench& bench) -> Call {
            const GroupNorm norm(bench.weights() / "norm", groups, x.channels, 1e-5);
            const auto in = map_of(bench, x);
            if (kind == Norm::plain) return [=] { norm(in); };
            if (kind == Norm::silu) return [=] { norm.silu(in); };
            // The shift may be written over what is shifted.
            const auto own = in.clone();
            const auto shift = bench.input({x.batch, x.channels});
            return [=] { norm.silu_shifted(own, shift); };
          }};
}

// The numbers of a 3x3 convolution that keeps the size of its map.
Kernel conv3x3_figures(const MapShape& in, int64_t out) {
  const MapShape result = {in.batch, out, in.height, in.width};
  const double taps = 9.0 * static_cast<double>(in.channels);
  return {.name = "conv3x3",
          .shape = fmt::format("{} -> {}", text(in), out),
          .flops = 2 * count(result) * taps,
          .weights = static_cast<double>(out) * (taps + 1),
          .inputs = count(in),
          .outputs = count(result)};
}

}  // namespace

Kernel conv(const MapShape& in, int64_t out, ConvShape shape) {
  const auto reduced = [&](int64_t n) {
    return (n + 2 * shape.padding - shape.kernel) / shape.stride + 1;
  };
  const MapShape result = {in.batch, out, reduced(in.height), reduced(in.width)};
  const double taps = static_cast<double>(in.channels * shape.kernel * shape.kernel);
  return {.name = fmt::format("conv{0}x{0}{1}", shape.kernel,
                              shape.stride > 1 ? fmt::format("_stride{}", shape.stride) : ""),
          .shape = fmt::format("{} -> {}", text(in), out),
          .flops = 2 * count(result) * taps,
          .weights = static_cast<double>(out) * (taps + 1),
          .inputs = count(in),
          .outputs = count(result),
          .make = [=](Workbench& bench) -> Call {
            const Conv2d conv(bench.weights() / "conv", in.channels, out, shape);
            const auto x = map_of(bench, in);
            return [=] { conv(x); };
          }};
}

Kernel conv3x3(const MapShape& in, int64_t out, Adds adds) {
  auto kernel = conv3x3_figures(in, out);
  const MapShape result = {in.batch, out, in.height, in.width};
  if (adds == Adds::bias_and_shift) {
    kernel.name += "_shift";
    kernel.inputs += static_cast<double>(in.batch * out);
  } else if (adds == Adds::bias_and_residual) {
    kernel.name += "_residual";
    kernel.inputs += count(result);
  } else if (adds == Adds::nothing) {
    kernel.name += "_no_bias";
  }
  kernel.make = [=](Workbench& bench) -> Call {
    const Conv2d conv(bench.weights() / "conv", in.channels, out);
    const auto x = map_of(bench, in);
    if (adds == Adds::nothing) return [=] { conv.without_bias(x); };
    if (adds == Adds::bias) return [=] { conv(x); };
    if (adds == Adds::bias_and_shift) {
      const auto shift = bench.input({in.batch, out});
      return [=] { conv.shifted(x, shift); };
    }
    const auto residual = map_of(bench, result).clone();
    return [=] { conv.plus(x, residual); };
  };
  return kernel;
}

Kernel conv1x1(const MapShape& in, int64_t out) {
  const double result = count({in.batch, out, in.height, in.width});
  return {.name = "conv1x1",
          .shape = fmt::format("{} -> {}", text(in), out),
          .flops = 2 * result * static_cast<double>(in.channels),
          .weights = static_cast<double>(out * (in.channels + 1)),
          .inputs = count(in),
          .outputs = result,
          .make = [=](Workbench& bench) -> Call {
            const Conv1x1 conv(bench.weights() / "conv", in.channels, out);
            const auto x = map_of(bench, in);
            return [=] { conv(x); };
          }};
}

Kernel upsample_conv3x3(const MapShape& in, int64_t height, int64_t width) {
  auto kernel = conv3x3_figures({in.batch, in.channels, height, width}, in.channels);
  kernel.name = "upsample_conv3x3";
  kernel.shape = fmt::format("{} -> {}x{}", text(in), height, width);
  kernel.inputs = count(in);
  kernel.make = [=](Workbench& bench) -> Call {
    const Upsample2D upsample(bench.weights() / "upsample", in.channels);
    const auto x = map_of(bench, in);
    return [=] { upsample(x, height, width); };
  };
  return kernel;
}

Kernel group_norm(const MapShape& x, int64_t groups) {
  return normalisation(x, groups, Norm::plain);
}

Kernel group_norm_silu(const MapShape& x, int64_t groups) {
  return normalisation(x, groups, Norm::silu);
}

Kernel group_norm_silu_shifted(const MapShape& x, int64_t groups) {
  return normalisation(x, groups, Norm::silu_shifted);
}

Kernel concatenate(const MapShape& a, int64_t more_channels) {
  const MapShape b = {a.batch, more_channels, a.height, a.width};
  return {.name = "concatenate",
          .shape = fmt::format("{} + {}", text(a), more_channels),
          .inputs = count(a) + count(b),
          .outputs = count(a) + count(b),
          .make = [=](Workbench& bench) -> Call {
            const auto x = map_of(bench, a), y = map_of(bench, b);
            return [=] { at::cat({x, y}, 1); };
          }};
}

Kernel add(const MapShape& x) {
  return {.name = "add",
          .shape = text(x),
          .inputs = 2 * count(x),
          .outputs = count(x),
          .make = [=](Workbench& bench) -> Call {
            const auto in = map_of(bench, x), sum = in.clone();
            return [=] { sum.add_(in); };
          }};
}

Kernel add_residual(const MapShape& x) {
  return {.name = "add_residual",
          .shape = text(x),
          .inputs = 2 * count(x) + static_cast<double>(x.channels),
          .outputs = count(x),
          .make = [=](Workbench& bench) -> Call {
            const auto in = map_of(bench, x), sum = in.clone();
            const auto bias = bench.input({x.channels});
            return [=] { fused::residual_(sum, bias, in); };
          }};
}

}  // namespace backlot::operators
