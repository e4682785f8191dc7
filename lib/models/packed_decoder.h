// Qwen2 and Llama language models on the CPU whose weights stay packed in 4 or 8 bits and are
// multiplied so (lib/kernels/quantized.h). Activations are float32 between the products, keys and
// values bfloat16. The same network as CausalLM, which computes in the dtypes of LibTorch.
//
// A token's result has the same bits whichever tokens are computed with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_team.h"
#include "kernels/paged_attention.h"
#include "kernels/quantized.h"
#include "nn/rotary.h"
#include "weights/decoder_config.h"

namespace backlot {

// A weight [rows, in] as codes, with a scale and a minimum for each group of inputs.
struct PackableMatrix {
  int64_t rows, in;
  int bits, group;
  // Rows [begin, end): codes [rows, in], scales and mins [rows, in / group]. Called from several
  // threads at once.
  std::function<void(int64_t begin, int64_t end, uint8_t* codes, float* scales, float* mins)> read;
};

// Where a packed model's weights come from, by transformers' names.
class PackableWeights {
 public:
  virtual ~PackableWeights() = default;
  virtual PackableMatrix matrix(const std::string& name, int64_t rows, int64_t in) const = 0;
  virtual std::vector<float> vector(const std::string& name, int64_t count) const = 0;
};

// Memory for kernels: aligned to cache lines, zeroed.
class AlignedBytes {
 public:
  AlignedBytes() = default;
  explicit AlignedBytes(size_t size);
  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

// Linear layers over the same input, their outputs side by side. Those of one packing are
// multiplied as one.
class PackedProjection {
 public:
  struct Source {
    PackableMatrix matrix;
    std::vector<float> bias;  // empty: none
  };
  explicit PackedProjection(const std::vector<Source>& sources);

  // silu(gate) * up
  static PackedProjection gated(const Source& gate, const Source& up);

  int64_t in() const { return parts_.front().shape.in; }
  int64_t out() const { return out_; }
  size_t bytes() const;

  // x: [rows, in] -> out: [rows, out] + residual, which may be null or `out`
  void operator()(ThreadTeam& team, const float* x, int64_t rows, float* out,
                  const float* residual) const;

  // Row `row` of the weight as float32, [in].
  void weight_row(int64_t row, float* out) const;

 private:
  struct Part {
    kernels::QuantizedShape shape;
    AlignedBytes weight;
    std::vector<float> bias;
    int64_t first_out;  // within the rows of the result
  };
  PackedProjection() = default;
  static Part pack(std::span<const Source> sources, bool gated, int64_t first_out);
  void multiply(ThreadTeam& team, const Part& part, const kernels::QuantizedRows& x, int64_t rows,
                float* out, const float* residual) const;

  std::vector<Part> parts_;
  int64_t out_ = 0;
  bool gate_apart_ = false;  // gate and up are packed differently: parts of a result twice as wide
};

// What PackedDecoder computes in one pass: a run of tokens of one sequence.
struct PackedRun {
  std::span<const int32_t> tokens;
  int64_t position;
  std::span<const int32_t> blocks;
};

class PackedDecoder {
 public:
  PackedDecoder(const PackableWeights& weights, const DecoderConfig& config, int64_t positions,
                int64_t blocks, int64_t block_tokens);

  // The last layer's output for the last token of the first `wanted` runs, after the final norm:
  // hidden becomes [wanted, hidden_size].
  void operator()(std::span<const PackedRun> runs, int64_t wanted, std::vector<float>& hidden);

  // hidden: [rows, hidden_size] -> [rows, vocab_size]
  void logits(const float* hidden, int64_t rows, float* out) const;

  size_t weight_bytes() const;

 private:
  struct Layer {
    std::vector<float> input_layernorm, post_attention_layernorm;
    PackedProjection qkv_proj, o_proj, gate_up_proj, down_proj;
    AlignedBytes keys, values;
  };
  struct Pass;
  Layer make_layer(const PackableWeights& weights, int64_t index, int64_t blocks) const;
  Pass begin(std::span<const PackedRun> runs) const;
  void attend(const Layer& layer, const Pass& pass, float* qkv, float* out) const;
  void norm(const float* x, const std::vector<float>& weight, int64_t rows, float* out) const;

  std::unique_ptr<ThreadTeam> team_;
  DecoderConfig config_;
  kernels::PagedShape cache_shape_;
  RotaryTable rotary_;
  std::optional<PackedProjection> embedding_;  // where it is not the head as well
  std::vector<Layer> layers_;
  std::vector<float> norm_;
  PackedProjection head_;
};

}  // namespace backlot
