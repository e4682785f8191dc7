// What the upper half knows of a language model in the engine: runs of tokens in, logits out. Which
// sequences there are, what they sample and when they end is the upper half's (lib/language). No
// LibTorch in this header.
//
// Keys and values live in blocks of `block_tokens` tokens (Kwon et al., PagedAttention, arXiv
// 2309.06180). The upper half hands blocks out; sequences that begin alike may share the blocks
// that their common beginning fills whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/precision.h"

namespace backlot {

// How the weights of linear layers are kept and multiplied. `automatic` keeps the packing that a
// GGUF has, where nothing is said of the precision; `none` keeps them in the precision.
enum class WeightPacking { automatic, none, int8, int4 };

// "auto", "none", "int8", "int4"
std::optional<WeightPacking> weight_packing_named(std::string_view name);

struct LanguageModelOptions {
  std::filesystem::path model;  // a transformers folder, a .gguf file or a folder that holds one
  Precision precision = Precision::automatic;
  WeightPacking packing = WeightPacking::automatic;
  int64_t cache_tokens = 0;  // room for keys and values; 0: for one sequence of the whole context
  // As PipelineOptions::synthetic: the sizes of an architecture, random weights.
  std::optional<std::string> synthetic;
};

// Tokens of one sequence, to be computed after those that the cache holds already.
struct TokenRun {
  enum class Wanted { nothing, best, logits };  // of the last token

  std::span<const int32_t> tokens;  // at least one, each below vocabulary_size
  int64_t position = 0;             // of the first: how many tokens of the sequence went before
  std::span<const int32_t> blocks;  // of the whole sequence, in order; room for all its tokens
  Wanted wanted = Wanted::logits;
};

// One row for each run that wanted `logits`, one number for each that wanted `best`, in the order
// of the runs; valid until the next call.
struct ForwardResult {
  std::span<const float> logits;  // [runs that wanted logits, vocabulary_size]
  std::span<const int32_t>
      best;  // the token of the largest logit, the first of equals; -1 if it is not finite
};

// A loaded model. Not safe for use from two threads at once.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  virtual int64_t vocabulary_size() const = 0;
  virtual int64_t context_length() const = 0;  // tokens of one sequence, at most
  virtual int64_t block_tokens() const = 0;
  virtual int64_t block_count() const = 0;  // block ids are 0 … block_count - 1

  // Computes all runs together; each depends on its own sequence alone, but for rounding. Runs are
  // of different sequences. Throws OutOfMemory.
  virtual ForwardResult forward(std::span<const TokenRun> runs) = 0;

  virtual std::string dtype() const = 0;   // "float32", "bfloat16", "int4", … : what was chosen
  virtual std::string device() const = 0;  // "cpu", "cuda:0"
  virtual uint64_t weight_bytes() const = 0;  // what the weights take as they are kept
};

}  // namespace backlot
