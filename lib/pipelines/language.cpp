#include "pipelines/language.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "models/packed_decoder.h"
#include "pipelines/language_weights.h"
#include "pipelines/precision.h"
#include "pipelines/tensor_errors.h"
#include "pipelines/token_places.h"

namespace backlot {
namespace {

constexpr int64_t block_tokens = 32;

using Wanted = TokenRun::Wanted;

// What both kinds of model have in common: sizes, and the rows that a caller gets.
class ModelBase : public LanguageModel {
 public:
  ModelBase(const DecoderConfig& config, int64_t positions, int64_t blocks)
      : config_(config), positions_(positions), blocks_(blocks) {}

  int64_t vocabulary_size() const override { return config_.vocab_size; }
  int64_t context_length() const override { return positions_; }
  int64_t block_tokens() const override { return backlot::block_tokens; }
  int64_t block_count() const override { return blocks_; }

 protected:
  DecoderConfig config_;
  int64_t positions_, blocks_;
  std::vector<float> logits_;
  std::vector<int32_t> best_;
};

class TensorLanguageModel final : public ModelBase {
 public:
  TensorLanguageModel(const LanguageWeights& weights, at::ScalarType dtype, at::Device device,
                      int64_t positions, int64_t blocks)
      : ModelBase(weights.config(), positions, blocks),
        device_(device),
        model_(load_tensors(weights, dtype, device, positions)),
        cache_(config_, blocks, backlot::block_tokens, model_.options()) {
    weight_bytes_ = weights.parameters() * at::elementSize(dtype);
  }

  ForwardResult forward(std::span<const TokenRun> runs) override {
    const at::InferenceMode inference;
    ForwardResult result;
    in_our_words("language model", [&] { result = compute(runs); });
    return result;
  }

  std::string dtype() const override {
    return precision_name(model_.options().dtype().toScalarType());
  }
  std::string device() const override { return device_.str(); }
  uint64_t weight_bytes() const override { return weight_bytes_; }

 private:
  static CausalLM load_tensors(const LanguageWeights& weights, at::ScalarType dtype,
                               at::Device device, int64_t positions) {
    const at::InferenceMode inference;
    return weights.bind(dtype, device, positions);
  }

  ForwardResult compute(std::span<const TokenRun> runs) {
    const auto pass = make_token_pass(runs, backlot::block_tokens, device_);
    const auto hidden = model_(pass.ids, pass.places, cache_);
    const auto rows_of = [&](Wanted wanted) {
      std::vector<int64_t> rows;
      for (size_t i = 0; i < runs.size(); ++i)
        if (runs[i].wanted == wanted) rows.push_back(pass.last_rows[i]);
      return rows;
    };
    const auto logits_at = [&](const std::vector<int64_t>& rows) {
      return model_.logits(hidden.index_select(0, at::tensor(rows).to(device_)));
    };
    logits_.clear();
    best_.clear();
    if (const auto rows = rows_of(Wanted::logits); !rows.empty()) {
      const auto logits = logits_at(rows).cpu().contiguous();
      logits_.assign(logits.const_data_ptr<float>(),
                     logits.const_data_ptr<float>() + logits.numel());
    }
    if (const auto rows = rows_of(Wanted::best); !rows.empty()) {
      const auto [largest, places] = logits_at(rows).max(-1);
      const auto best =
          at::where(largest.isfinite(), places, -1).to(at::kInt).cpu();  // NaN is the largest
      best_.assign(best.const_data_ptr<int32_t>(), best.const_data_ptr<int32_t>() + best.numel());
    }
    return {logits_, best_};
  }

  at::Device device_;
  CausalLM model_;
  PagedCache cache_;
  uint64_t weight_bytes_ = 0;
};

class PackedLanguageModel final : public ModelBase {
 public:
  PackedLanguageModel(const LanguageWeights& weights, WeightPacking packing, int64_t positions,
                      int64_t blocks)
      : ModelBase(weights.config(), positions, blocks),
        model_(*weights.packable(packing), config_, positions, blocks, backlot::block_tokens),
        dtype_(weights.packed_name(packing)) {}

  ForwardResult forward(std::span<const TokenRun> runs) override {
    ForwardResult result;
    in_our_words("language model", [&] { result = compute(runs); });
    return result;
  }

  std::string dtype() const override { return dtype_; }
  std::string device() const override { return "cpu"; }
  uint64_t weight_bytes() const override { return model_.weight_bytes(); }

 private:
  // Runs in the order logits, best, nothing: their hidden rows then lie as they are wanted.
  ForwardResult compute(std::span<const TokenRun> runs) {
    std::vector<PackedRun> ordered;
    int64_t with_logits = 0, wanted = 0;
    for (const auto kind : {Wanted::logits, Wanted::best, Wanted::nothing})
      for (const auto& run : runs) {
        if (run.wanted != kind) continue;
        ordered.push_back({run.tokens, run.position, run.blocks});
        with_logits += kind == Wanted::logits;
        wanted += kind != Wanted::nothing;
      }
    model_(ordered, wanted, hidden_);
    logits_.resize(with_logits * config_.vocab_size);
    model_.logits(hidden_.data(), with_logits, logits_.data());
    choose_best(with_logits, wanted);
    return {logits_, best_};
  }

  // -1 where a logit is no finite number.
  int32_t largest_of(const float* logits) const {
    const float* end = logits + config_.vocab_size;
    const bool finite = std::all_of(logits, end, [](float x) { return x - x == 0; });
    return finite ? static_cast<int32_t>(std::max_element(logits, end) - logits) : -1;
  }

  // Some rows at a time, as nobody asks for their logits.
  void choose_best(int64_t first, int64_t last) {
    constexpr int64_t at_once = 16;
    best_.clear();
    std::vector<float> logits(std::min(at_once, last - first) * config_.vocab_size);
    for (int64_t begin = first; begin < last; begin += at_once) {
      const int64_t rows = std::min(at_once, last - begin);
      model_.logits(hidden_.data() + begin * config_.hidden_size, rows, logits.data());
      for (int64_t row = 0; row < rows; ++row)
        best_.push_back(largest_of(logits.data() + row * config_.vocab_size));
    }
  }

  PackedDecoder model_;
  std::string dtype_;
  std::vector<float> hidden_;
};

}  // namespace

std::unique_ptr<LanguageModel> load_language_model(const LanguageModelOptions& options,
                                                   at::Device device, Progress& progress) {
  progress.stage("load");
  const auto weights = LanguageWeights::open(options);
  const auto& config = weights.config();
  const int64_t wished =
      options.cache_tokens > 0 ? options.cache_tokens : config.max_position_embeddings;
  const int64_t positions = std::min(config.max_position_embeddings, wished);
  const int64_t blocks = (wished + block_tokens - 1) / block_tokens;
  std::unique_ptr<LanguageModel> model;
  in_our_words(options.synthetic.value_or(options.model.string()), [&] {
    const auto packing = weights.choose_packing(options, device);
    if (packing == WeightPacking::none) {
      model = std::make_unique<TensorLanguageModel>(
          weights, choose_dtype(options.precision, device), device, positions, blocks);
    } else {
      model = std::make_unique<PackedLanguageModel>(weights, packing, positions, blocks);
    }
  });
  return model;
}

}  // namespace backlot
