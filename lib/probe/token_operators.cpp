#include <ATen/ATen.h>
#include <fmt/format.h>

#include "probe/operators.h"

namespace backlot::operators {
namespace {

double count(const TokenShape& x) {
  return static_cast<double>(x.batch) * static_cast<double>(x.tokens) *
         static_cast<double>(x.width);
}

std::string text(const TokenShape& x) {
  return fmt::format("{}x{}x{}", x.batch, x.tokens, x.width);
}

std::vector<int64_t> sizes(const TokenShape& x) { return {x.batch, x.tokens, x.width}; }

// Where nothing follows the diagonal, a token meets those before it and itself.
double meetings(int64_t tokens, int64_t attended, Mask mask) {
  const auto l = static_cast<double>(tokens), t = static_cast<double>(attended);
  return mask == Mask::causal ? l * (t - l) + l * (l + 1) / 2 : l * t;
}

// Numbers alone: what the kernel runs is the caller's.
Kernel attention_figures(std::string name, const TokenShape& x, int64_t heads, int64_t attended,
                         Mask mask) {
  const double keys = count({x.batch, attended, x.width});
  return {
      .name = std::move(name),
      .shape =
          fmt::format("{}x{}x{}x{} on {}", x.batch, x.tokens, heads, x.width / heads, attended),
      .flops = 4.0 * static_cast<double>(x.batch * x.width) * meetings(x.tokens, attended, mask),
      .inputs = count(x) + 2 * keys,
      .outputs = count(x)};
}

}  // namespace

Kernel linear(std::string kind, const TokenShape& x, int64_t out, Bias bias) {
  const auto weights = static_cast<double>(out) * static_cast<double>(x.width);
  return {.name = std::move(kind),
          .shape = fmt::format("{} -> {}", text(x), out),
          .flops = 2.0 * static_cast<double>(x.batch * x.tokens) * weights,
          .weights = weights + (bias == Bias::learned ? static_cast<double>(out) : 0),
          .inputs = count(x),
          .outputs = count({x.batch, x.tokens, out}),
          .make = [=](Workbench& bench) -> Call {
            const Linear layer(bench.weights() / "linear", x.width, out, bias);
            const auto in = bench.input(sizes(x));
            return [=] { layer(in); };
          }};
}

Kernel linear_residual(std::string kind, const TokenShape& x, int64_t out) {
  const TokenShape result = {x.batch, x.tokens, out};
  auto kernel = linear(std::move(kind), x, out);
  kernel.name += "_residual";
  kernel.inputs += count(result);
  kernel.make = [=](Workbench& bench) -> Call {
    const Linear layer(bench.weights() / "linear", x.width, out);
    const auto in = bench.input(sizes(x)), residual = bench.input(sizes(result)).clone();
    return [=] { layer.plus(in, residual); };
  };
  return kernel;
}

Kernel geglu(const TokenShape& x, int64_t out) {
  auto kernel = linear("linear_geglu", x, 2 * out);
  kernel.shape = fmt::format("{} -> {}", text(x), out);
  kernel.outputs = count({x.batch, x.tokens, out});
  kernel.make = [=](Workbench& bench) -> Call {
    const Geglu layer(bench.weights() / "geglu", x.width, out);
    const auto in = bench.input(sizes(x));
    return [=] { layer(in); };
  };
  return kernel;
}

Kernel layer_norm(const TokenShape& x) {
  return {.name = "layer_norm",
          .shape = text(x),
          .weights = 2.0 * static_cast<double>(x.width),
          .inputs = count(x),
          .outputs = count(x),
          .make = [=](Workbench& bench) -> Call {
            const LayerNorm norm(bench.weights() / "norm", x.width, 1e-5);
            const auto in = bench.input(sizes(x));
            return [=] { norm(in); };
          }};
}

Kernel add_layer_norm(const TokenShape& x) {
  return {.name = "add_layer_norm",
          .shape = text(x),
          .weights = 2.0 * static_cast<double>(x.width),
          .inputs = 2 * count(x),
          .outputs = 2 * count(x),
          .make = [=](Workbench& bench) -> Call {
            const LayerNorm norm(bench.weights() / "norm", x.width, 1e-5);
            const auto in = bench.input(sizes(x)), sum = in.clone();
            return [=] { norm.after_adding(sum, in); };
          }};
}

Kernel rms_norm(const TokenShape& x) {
  return {.name = "rms_norm",
          .shape = text(x),
          .weights = static_cast<double>(x.width),
          .inputs = count(x),
          .outputs = count(x),
          .make = [=](Workbench& bench) -> Call {
            const auto weight = (bench.weights() / "norm")("weight", {x.width});
            const auto in = bench.input(sizes(x));
            return [=] { at::rms_norm(in, {x.width}, weight, 1e-6); };
          }};
}

Kernel add(const TokenShape& x) {
  return {.name = "add",
          .shape = text(x),
          .inputs = 2 * count(x),
          .outputs = count(x),
          .make = [=](Workbench& bench) -> Call {
            const auto in = bench.input(sizes(x)), other = in.clone();
            return [=] { at::add(in, other); };
          }};
}

Kernel gated(Gate gate, const TokenShape& x) {
  return {.name = gate == Gate::gelu ? "geglu" : "swiglu",
          .shape = text(x),
          .inputs = count(x),
          .outputs = count(x) / 2,
          .make = [=](Workbench& bench) -> Call {
            const auto halves = bench.input(sizes(x)).chunk(2, 2);
            if (gate == Gate::gelu) return [=] { at::gelu(halves[1]).mul_(halves[0]); };
            return [=] { at::silu(halves[0]).mul_(halves[1]); };
          }};
}

Kernel activation(Activation kind, const TokenShape& x) {
  return {.name = kind == Activation::gelu        ? "gelu"
                  : kind == Activation::gelu_tanh ? "gelu_tanh"
                                                  : "quick_gelu",
          .shape = text(x),
          .inputs = count(x),
          .outputs = count(x),
          .make = [=](Workbench& bench) -> Call {
            const auto in = bench.input(sizes(x));
            switch (kind) {
              case Activation::gelu:
                return [=] { at::gelu(in); };
              case Activation::gelu_tanh:
                return [=] { at::gelu(in, "tanh"); };
              case Activation::quick_gelu:
                return [=] { in* at::sigmoid(1.702 * in); };
            }
            TORCH_CHECK(false, "no such activation");
          }};
}

Kernel self_attention(const TokenShape& x, int64_t heads, Mask mask) {
  auto kernel = attention_figures("self_attention", x, heads, x.tokens, mask);
  // The three lie side by side, as one layer leaves them.
  kernel.make = [=](Workbench& bench) -> Call {
    const auto qkv = bench.input({x.batch, x.tokens, 3 * x.width}).chunk(3, 2);
    return [=] { attention(qkv[0], qkv[1], qkv[2], heads, mask); };
  };
  return kernel;
}

Kernel cross_attention(const TokenShape& x, int64_t heads, int64_t attended) {
  auto kernel = attention_figures("cross_attention", x, heads, attended, Mask::none);
  kernel.make = [=](Workbench& bench) -> Call {
    const auto q = bench.input(sizes(x));
    const auto k = bench.input({x.batch, attended, x.width}), v = k.clone();
    return [=] { attention(q, k, v, heads); };
  };
  return kernel;
}

Kernel grouped_attention(int64_t batch, int64_t tokens, int64_t attended,
                         const GroupedHeads& heads) {
  const TokenShape x = {batch, tokens, heads.heads * heads.width};
  auto kernel = attention_figures("grouped_attention", x, heads.heads, attended, Mask::causal);
  kernel.shape += fmt::format(", {} key heads", heads.key_heads);
  kernel.inputs = count(x) + 2 * count({batch, attended, heads.key_heads * heads.width});
  kernel.make = [=](Workbench& bench) -> Call {
    const auto q = bench.input({batch, heads.heads, tokens, heads.width});
    const auto k = bench.input({batch, heads.key_heads, attended, heads.width}), v = k.clone();
    const bool causal = tokens > 1;  // the last token sees everything
    return [=] { at::scaled_dot_product_attention(q, k, v, {}, 0.0, causal, std::nullopt, true); };
  };
  return kernel;
}

Kernel biased_attention(const TokenShape& x, int64_t heads) {
  auto kernel = attention_figures("biased_attention", x, heads, x.tokens, Mask::none);
  kernel.inputs += static_cast<double>(heads * x.tokens * x.tokens);
  kernel.make = [=](Workbench& bench) -> Call {
    const auto q = bench.input({x.batch, heads, x.tokens, x.width / heads});
    const auto k = q.clone(), v = q.clone();
    const auto bias = bench.input({1, heads, x.tokens, x.tokens});
    return [=] { at::scaled_dot_product_attention(q, k, v, bias); };
  };
  return kernel;
}

}  // namespace backlot::operators
