#include "models/packed_decoder.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "kernels/bfloat16.h"
#include "kernels/decoder_rows.h"

namespace backlot {

// One forward pass: its tokens in a row, and what each of them attends to.
struct PackedDecoder::Pass {
  std::vector<int32_t> tokens;
  std::vector<kernels::PagedToken> places;
  int64_t count() const { return static_cast<int64_t>(tokens.size()); }
};

namespace {

using Source = PackedProjection::Source;

Source source(const PackableWeights& weights, const std::string& name, int64_t out, int64_t in,
              bool bias) {
  Source source{weights.matrix(name + ".weight", out, in), {}};
  if (bias) source.bias = weights.vector(name + ".bias", out);
  return source;
}

PackedProjection head(const PackableWeights& weights, const DecoderConfig& config) {
  return PackedProjection(
      {source(weights, config.tie_word_embeddings ? "model.embed_tokens" : "lm_head",
              config.vocab_size, config.hidden_size, false)});
}

kernels::PagedShape paged_shape(const DecoderConfig& config, int64_t block_tokens) {
  return {.heads = config.num_attention_heads,
          .kv_heads = config.num_key_value_heads,
          .head_dim = config.head_dim,
          .block_tokens = block_tokens,
          .type = kernels::KvType::bfloat16,
          .scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim)),
          .rounded_dots = kernels::has_bfloat16_dot() && config.head_dim % 16 == 0};
}

// Rows that are too few to be worth waking other threads for.
constexpr int64_t few_rows = 4;
// Of tokens: each takes longer than it takes to hand it out.
constexpr int64_t many_chunks = 8;

}  // namespace

PackedDecoder::PackedDecoder(const PackableWeights& weights, const DecoderConfig& config,
                             int64_t positions, int64_t blocks, int64_t block_tokens)
    : team_(std::make_unique<ThreadTeam>(at::get_num_threads())),
      config_(config),
      cache_shape_(paged_shape(config, block_tokens)),
      rotary_(make_rotary_table(config, positions)),
      norm_(weights.vector("model.norm.weight", config.hidden_size)),
      head_(head(weights, config)) {
  if (!config.tie_word_embeddings)
    embedding_.emplace(std::vector{
        source(weights, "model.embed_tokens", config.vocab_size, config.hidden_size, false)});
  layers_.reserve(config.num_hidden_layers);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers_.push_back(make_layer(weights, i, blocks));
}

PackedDecoder::Layer PackedDecoder::make_layer(const PackableWeights& weights, int64_t index,
                                               int64_t blocks) const {
  const std::string at = fmt::format("model.layers.{}.", index);
  const int64_t hidden = config_.hidden_size, wide = config_.intermediate_size;
  const int64_t q = config_.num_attention_heads * config_.head_dim;
  const int64_t kv = config_.num_key_value_heads * config_.head_dim;
  const auto linear = [&](const char* name, int64_t out, int64_t in, bool bias) {
    return source(weights, at + name, out, in, bias);
  };
  const size_t cache = blocks * cache_shape_.block_bytes();
  return {
      .input_layernorm = weights.vector(at + "input_layernorm.weight", hidden),
      .post_attention_layernorm = weights.vector(at + "post_attention_layernorm.weight", hidden),
      .qkv_proj = PackedProjection({linear("self_attn.q_proj", q, hidden, config_.qkv_bias),
                                    linear("self_attn.k_proj", kv, hidden, config_.qkv_bias),
                                    linear("self_attn.v_proj", kv, hidden, config_.qkv_bias)}),
      .o_proj = PackedProjection({linear("self_attn.o_proj", hidden, q, config_.o_bias)}),
      .gate_up_proj =
          PackedProjection::gated(linear("mlp.gate_proj", wide, hidden, config_.mlp_bias),
                                  linear("mlp.up_proj", wide, hidden, config_.mlp_bias)),
      .down_proj = PackedProjection({linear("mlp.down_proj", hidden, wide, config_.mlp_bias)}),
      .keys = AlignedBytes(cache),
      .values = AlignedBytes(cache),
  };
}

PackedDecoder::Pass PackedDecoder::begin(std::span<const PackedRun> runs) const {
  Pass pass;
  for (const auto& run : runs) {
    for (size_t i = 0; i < run.tokens.size(); ++i) {
      pass.tokens.push_back(run.tokens[i]);
      pass.places.push_back({run.position + static_cast<int64_t>(i), run.blocks.data()});
    }
  }
  return pass;
}

void PackedDecoder::norm(const float* x, const std::vector<float>& weight, int64_t rows,
                         float* out) const {
  const int64_t width = config_.hidden_size;
  team_->loop(rows, few_rows, [&](int64_t begin, int64_t end) {
    kernels::rms_norm_rows(x + begin * width, weight.data(),
                           static_cast<float>(config_.rms_norm_eps), end - begin, width,
                           out + begin * width);
  });
}

// qkv: [tokens, heads + 2 * kv_heads, head_dim], turned in place -> out: [tokens, heads, head_dim]
void PackedDecoder::attend(const Layer& layer, const Pass& pass, float* qkv, float* out) const {
  const int64_t heads = config_.num_attention_heads, kv_heads = config_.num_key_value_heads;
  const int64_t width = config_.head_dim, stride = (heads + 2 * kv_heads) * width;
  const float* cos = rotary_.cos.const_data_ptr<float>();
  const float* sin = rotary_.sin.const_data_ptr<float>();
  const kernels::PagedCache cache{layer.keys.data(), layer.values.data()};
  team_->loop(pass.count(), few_rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto& place = pass.places[i];
      float* token = qkv + i * stride;
      kernels::rotate_halves(token, heads + kv_heads, width, cos + place.position * width / 2,
                             sin + place.position * width / 2);
      kernels::write_kv(cache_shape_, cache, token + heads * width,
                        token + (heads + kv_heads) * width, stride, place.blocks, place.position,
                        1);
    }
  });
  const kernels::PagedQueries queries{.q = qkv,
                                      .q_stride = stride,
                                      .out = out,
                                      .out_stride = heads * width,
                                      .tokens = pass.places.data()};
  const int64_t together = kernels::paged_tokens_at_once(cache_shape_);
  const int64_t chunks = (pass.count() + together - 1) / together;
  // The last tokens of a prompt see the most: they go first, so that the threads end together.
  team_->loop(
      chunks * kv_heads, 1,
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = (chunks - 1 - i / kv_heads) * together, head = i % kv_heads;
          kernels::attend_paged(cache_shape_, cache, queries, first,
                                std::min(first + together, pass.count()), head, head + 1);
        }
      },
      chunks < many_chunks ? ThreadTeam::coarse : ThreadTeam::fine);
}

void PackedDecoder::operator()(std::span<const PackedRun> runs, int64_t wanted,
                               std::vector<float>& hidden) {
  const Pass pass = begin(runs);
  const int64_t tokens = pass.count(), width = config_.hidden_size;
  const auto rows = [&](int64_t columns) {
    return std::unique_ptr<float[]>(new float[tokens * columns]);
  };
  const auto x = rows(width), normed = rows(width);
  const auto qkv = rows(layers_.front().qkv_proj.out());
  const auto attended = rows(config_.num_attention_heads * config_.head_dim);
  const auto gated = rows(config_.intermediate_size);
  const PackedProjection& embedding = embedding_ ? *embedding_ : head_;
  team_->loop(tokens, few_rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) embedding.weight_row(pass.tokens[i], x.get() + i * width);
  });

  for (const auto& layer : layers_) {
    norm(x.get(), layer.input_layernorm, tokens, normed.get());
    layer.qkv_proj(*team_, normed.get(), tokens, qkv.get(), nullptr);
    attend(layer, pass, qkv.get(), attended.get());
    layer.o_proj(*team_, attended.get(), tokens, x.get(), x.get());
    norm(x.get(), layer.post_attention_layernorm, tokens, normed.get());
    layer.gate_up_proj(*team_, normed.get(), tokens, gated.get(), nullptr);
    layer.down_proj(*team_, gated.get(), tokens, x.get(), x.get());
  }

  hidden.resize(wanted * width);
  int64_t last = -1;
  for (int64_t i = 0; i < wanted; ++i) {
    last += static_cast<int64_t>(runs[i].tokens.size());
    std::copy_n(x.get() + last * width, width, hidden.data() + i * width);
  }
  norm(hidden.data(), norm_, wanted, hidden.data());
}

void PackedDecoder::logits(const float* hidden, int64_t rows, float* out) const {
  head_(*team_, hidden, rows, out, nullptr);
}

size_t PackedDecoder::weight_bytes() const {
  size_t sum = head_.bytes() + (embedding_ ? embedding_->bytes() : 0);
  for (const auto& layer : layers_)
    for (const auto* part : {&layer.qkv_proj, &layer.o_proj, &layer.gate_up_proj, &layer.down_proj})
      sum += part->bytes();
  return sum;
}

}  // namespace backlot
