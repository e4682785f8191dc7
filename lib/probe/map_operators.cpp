#include <ATen/ATen.h>
#include <fmt/format.h>

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

Kernel normalisation(const MapShape& x, int64_t groups, bool silu) {
  return {.name = silu ? "group_norm_silu" : "group_norm",
          .shape = text(x),
          .weights = 2.0 * static_cast<double>(x.channels),
          .inputs = count(x),
          .outputs = count(x),
          .make = [=](Workbench& bench) -> Call {
            const GroupNorm norm(bench.weights() / "norm", groups, x.channels, 1e-5);
            const auto in = map_of(bench, x);
            return [=] { silu ? norm.silu(in) : norm(in); };
          }};
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

Kernel group_norm(const MapShape& x, int64_t groups) { return normalisation(x, groups, false); }

Kernel group_norm_silu(const MapShape& x, int64_t groups) { return normalisation(x, groups, true); }

Kernel upsample(const MapShape& x, int64_t height, int64_t width) {
  return {.name = "upsample",
          .shape = fmt::format("{} -> {}x{}", text(x), height, width),
          .inputs = count(x),
          .outputs = count({x.batch, x.channels, height, width}),
          .make = [=](Workbench& bench) -> Call {
            const auto in = map_of(bench, x);
            return [=] { at::upsample_nearest2d(in, {height, width}); };
          }};
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

Kernel add_time(const MapShape& x) {
  return {.name = "add_time",
          .shape = text(x),
          .inputs = count(x) + static_cast<double>(x.batch * x.channels),
          .outputs = count(x),
          .make = [=](Workbench& bench) -> Call {
            const auto sum = map_of(bench, x).clone();
            const auto shift = bench.input({x.batch, x.channels}).unsqueeze(-1).unsqueeze(-1);
            return [=] { sum.add_(shift); };
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

}  // namespace backlot::operators
