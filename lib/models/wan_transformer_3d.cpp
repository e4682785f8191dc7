#include "models/wan_transformer_3d.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "models/wan_rotary.h"
#include "nn/modulation.h"
#include "nn/timestep_embedding.h"

namespace backlot {
namespace {

// factor, shift and gate of a sublayer at a time: [B, D] float32 each.
struct Modulation {
  Tensor shift, factor, gate;
};

Modulation modulation(const std::vector<Tensor>& chunks, size_t first) {
  return {.shift = chunks[first], .factor = 1 + chunks[first + 1], .gate = chunks[first + 2]};
}

struct WanBlock {
  WanBlock(const Weights& w, const WanTransformer3DConfig& config);

  KeyValue text(const Tensor& embedded) const;

  // x: [B, L, D], changed in place; time: [B, 6, D] float32. `before`, if it has a tensor, is what
  // the last block would still add to x; what this one would add comes back.
  GatedResidual operator()(Tensor& x, const std::optional<GatedResidual>& before,
                           const Tensor& time, const KeyValue& text,
                           const PairRotation& rotation) const;

  int64_t heads;
  double eps;
  Tensor scale_shift_table;  // [1, 6, D] float32
  Linear attn1_to_qkv;       // side by side
  Tensor attn1_norm_q, attn1_norm_k;
  Linear attn1_to_out;
  std::optional<std::pair<Tensor, Tensor>> norm2;  // weight and bias, [1, D] float32
  Linear attn2_to_q;
  Linear attn2_to_kv;  // side by side
  Tensor attn2_norm_q, attn2_norm_k;
  Linear attn2_to_out;
  GeluLinear ffn_0;
  Linear ffn_2;
};

LinearParameters square(const Weights& w, int64_t width) { return {w, width, width}; }

WanBlock::WanBlock(const Weights& w, const WanTransformer3DConfig& config)
    : heads(config.num_attention_heads),
      eps(config.eps),
      scale_shift_table(w.in_dtype(at::kFloat)("scale_shift_table", {1, 6, config.width()})),
      attn1_to_qkv(side_by_side({square(w / "attn1" / "to_q", config.width()),
                                 square(w / "attn1" / "to_k", config.width()),
                                 square(w / "attn1" / "to_v", config.width())})),
      attn1_norm_q((w / "attn1" / "norm_q")("weight", {config.width()})),
      attn1_norm_k((w / "attn1" / "norm_k")("weight", {config.width()})),
      attn1_to_out(w / "attn1" / "to_out" / 0, config.width(), config.width()),
      attn2_to_q(w / "attn2" / "to_q", config.width(), config.width()),
      attn2_to_kv(side_by_side({square((w / "attn2" / "to_k").in_full(), config.width()),
                                square((w / "attn2" / "to_v").in_full(), config.width())})),
      attn2_norm_q((w / "attn2" / "norm_q")("weight", {config.width()})),
      attn2_norm_k((w / "attn2" / "norm_k")("weight", {config.width()})),
      attn2_to_out(w / "attn2" / "to_out" / 0, config.width(), config.width()),
      ffn_0(w / "ffn" / "net" / 0 / "proj", config.width(), config.ffn_dim),
      ffn_2(w / "ffn" / "net" / 2, config.ffn_dim, config.width()) {
  if (config.cross_attn_norm) {
    const auto norm = (w / "norm2").in_dtype(at::kFloat);
    norm2 = {norm("weight", {config.width()}).unsqueeze(0),
             norm("bias", {config.width()}).unsqueeze(0)};
  }
}

KeyValue WanBlock::text(const Tensor& embedded) const {
  const auto parts = attn2_to_kv(embedded).chunk(2, 2);
  return {.k = rms_norm_rotated(parts[0], attn2_norm_k, eps), .v = parts[1]};
}

GatedResidual WanBlock::operator()(Tensor& x, const std::optional<GatedResidual>& before,
                                   const Tensor& time, const KeyValue& text,
                                   const PairRotation& rotation) const {
  const auto chunks = (scale_shift_table + time).unbind(1);
  const auto msa = modulation(chunks, 0), mlp = modulation(chunks, 3);

  const auto qkv =
      attn1_to_qkv(modulated_norm(x, msa.factor, msa.shift, eps, before ? &*before : nullptr))
          .chunk(3, 2);
  const auto q = rms_norm_rotated(qkv[0], attn1_norm_q, eps, &rotation);
  const auto k = rms_norm_rotated(qkv[1], attn1_norm_k, eps, &rotation);
  const GatedResidual self{.y = attn1_to_out(attention(q, k, qkv[2], heads)), .gate = msa.gate};

  if (!norm2) add_gated(x, self);
  const auto crossing = norm2 ? modulated_norm(x, norm2->first, norm2->second, eps, &self) : x;
  const auto text_q = rms_norm_rotated(attn2_to_q(crossing), attn2_norm_q, eps);
  const GatedResidual cross{.y = attn2_to_out(attention(text_q, text.k, text.v, heads)),
                            .gate = {}};

  const auto normed = modulated_norm(x, mlp.factor, mlp.shift, eps, &cross);
  return {.y = ffn_2(ffn_0(normed)), .gate = mlp.gate};
}

std::array<int64_t, 3> grid_of(const Tensor& latents, const WanTransformer3DConfig& config) {
  std::array<int64_t, 3> grid;
  for (size_t i = 0; i < grid.size(); ++i) {
    const int64_t side = latents.size(2 + static_cast<int64_t>(i));
    TORCH_CHECK(side % config.patch_size[i] == 0, "latents are no multiple of the patch");
    grid[i] = side / config.patch_size[i];
    if (grid[i] > config.rope_max_seq_len) {
      throw ItemError("transformer",
                      fmt::format("{} patches along one side of the clip, where the model has {}",
                                  grid[i], config.rope_max_seq_len),
                      "ask for a smaller or shorter clip");
    }
  }
  return grid;
}

// [B, C, F, h, w] -> [B, L, C * patch values], and back with the channels last.
Tensor patchify(const Tensor& x, const std::array<int64_t, 3>& grid,
                const std::array<int64_t, 3>& patch) {
  return x.reshape({x.size(0), x.size(1), grid[0], patch[0], grid[1], patch[1], grid[2], patch[2]})
      .permute({0, 2, 4, 6, 1, 3, 5, 7})
      .flatten(4)
      .flatten(1, 3)
      .contiguous();
}

Tensor unpatchify(const Tensor& tokens, const std::array<int64_t, 3>& grid,
                  const std::array<int64_t, 3>& patch) {
  return tokens
      .reshape({tokens.size(0), grid[0], grid[1], grid[2], patch[0], patch[1], patch[2], -1})
      .permute({0, 7, 1, 4, 2, 5, 3, 6})
      .flatten(6, 7)
      .flatten(4, 5)
      .flatten(2, 3);
}

// mean |a - b| / mean |b|
double relative_difference(const Tensor& a, const Tensor& b) {
  const auto mean = [](const Tensor& x) { return x.abs().mean(at::kFloat).item<double>(); };
  const double size = mean(b);
  return size == 0 ? 0 : mean(a - b) / size;
}

// Whether what the cache has of the other blocks serves an evaluation whose first block changed the
// tokens by `first`; if not, that is what the next ones are held against.
bool reuses(WanStepCache& cache, const Tensor& first) {
  cache.reused = !cache.must_run && cache.rest.defined() && cache.first.sizes() == first.sizes() &&
                 relative_difference(first, cache.first) < cache.threshold;
  if (!cache.reused) {
    cache.first = first;
    cache.rest.reset();  // its memory serves the blocks
  }
  return cache.reused;
}

LinearParameters patch_embedding(const Weights& w, const WanTransformer3DConfig& config) {
  const auto& patch = config.patch_size;
  const auto weight =
      w("weight", {config.width(), config.in_channels, patch[0], patch[1], patch[2]});
  return {weight.flatten(1), w("bias", {config.width()})};
}

}  // namespace

struct WanTransformer3DModel::Layers {
  Layers(const Weights& w, const WanTransformer3DConfig& config);

  at::ScalarType dtype;
  at::Device device;
  Linear patch_embedding;  // of patches laid out as the convolution's kernel
  TimestepEmbedding time_embedder;
  Linear time_proj;
  Linear text_embedder_1, text_embedder_2;
  std::vector<WanBlock> blocks;
  Tensor scale_shift_table;  // [1, 2, D] float32
  Linear proj_out;
  WanRotationCache rotations;
};

WanTransformer3DModel::Layers::Layers(const Weights& w, const WanTransformer3DConfig& config)
    : dtype(at::kFloat),
      device(at::kCPU),
      patch_embedding(backlot::patch_embedding(w / "patch_embedding", config)),
      time_embedder((w / "condition_embedder" / "time_embedder").in_dtype(at::kFloat),
                    config.freq_dim, config.width()),
      time_proj((w / "condition_embedder" / "time_proj").in_full(), config.width(),
                6 * config.width()),
      text_embedder_1((w / "condition_embedder" / "text_embedder" / "linear_1").in_full(),
                      config.text_dim, config.width()),
      text_embedder_2((w / "condition_embedder" / "text_embedder" / "linear_2").in_full(),
                      config.width(), config.width()),
      scale_shift_table(w.in_dtype(at::kFloat)("scale_shift_table", {1, 2, config.width()})),
      proj_out((w / "proj_out").in_full(), config.width(),
               config.out_channels * config.patch_values()) {
  blocks.reserve(config.num_layers);
  for (int64_t i = 0; i < config.num_layers; ++i) blocks.emplace_back(w / "blocks" / i, config);
  dtype = blocks.front().attn1_norm_q.scalar_type();
  device = scale_shift_table.device();
}

WanTransformer3DModel::WanTransformer3DModel(const Weights& w, const WanTransformer3DConfig& config)
    : config_(config), layers_(std::make_shared<const Layers>(w, config)) {}

at::ScalarType WanTransformer3DModel::dtype() const { return layers_->dtype; }

WanConditioning WanTransformer3DModel::condition(const Tensor& prompt_embeds) const {
  const auto& l = *layers_;
  const auto hidden = at::gelu(l.text_embedder_1(prompt_embeds.to(l.device, l.dtype)), "tanh");
  const auto embedded = l.text_embedder_2(hidden);
  WanConditioning conditioning;
  for (const auto& block : l.blocks) conditioning.text.push_back(block.text(embedded));
  return conditioning;
}

Tensor WanTransformer3DModel::operator()(const Tensor& latents, const Tensor& timestep,
                                         const WanConditioning& conditioning,
                                         WanStepCache* cache) const {
  const auto& l = *layers_;
  const auto grid = grid_of(latents, config_);
  const auto rotation = l.rotations(config_.attention_head_dim, grid, l.device);

  const auto waves =
      sinusoidal_embedding(timestep.to(l.device), config_.freq_dim, SineOrder::cos_first, 0);
  const auto temb = l.time_embedder(waves).to(l.dtype);  // [B, D]
  const auto time =
      l.time_proj(at::silu(temb)).to(at::kFloat).unflatten(1, at::IntArrayRef({6, -1}));

  auto x = l.patch_embedding(patchify(latents.to(l.dtype), grid, config_.patch_size));
  const auto before = cache ? x.clone() : Tensor();
  std::optional<GatedResidual> residual =
      l.blocks[0](x, std::nullopt, time, conditioning.text[0], *rotation);
  Tensor after_first;
  size_t done = 1;
  if (cache) {
    add_gated(x, *residual);
    residual.reset();
    if (reuses(*cache, x - before)) {
      x.add_(cache->rest);
      done = l.blocks.size();
    } else {
      after_first = x.clone();
    }
  }
  for (size_t i = done; i < l.blocks.size(); ++i) {
    residual = l.blocks[i](x, residual, time, conditioning.text[i], *rotation);
  }
  const auto ends = (l.scale_shift_table + temb.to(at::kFloat).unsqueeze(1)).unbind(1);
  const auto normed =
      modulated_norm(x, 1 + ends[1], ends[0], config_.eps, residual ? &*residual : nullptr);
  if (after_first.defined()) cache->rest = after_first.neg_().add_(x);
  return unpatchify(l.proj_out(normed), grid, config_.patch_size);
}

}  // namespace backlot
