// Prompts to enhanced texts: tries, checks, other seeds, and the original where nothing helps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "enhance/check.h"
#include "enhance/text_maker.h"
#include "spec/style.h"

namespace backlot {

struct EnhanceRequest {
  std::string prompt;
  const Style* style = nullptr;
  TextSampling sampling;
  int64_t retries = 3;
  uint64_t seed = 0;  // of the first try
  // What counts a style's tokens: a tokenizer's folder; empty: the shipped one of CLIP, an estimate
  // for UMT5.
  std::filesystem::path tokenizer = {};
};

struct EnhancedText {
  std::string text;  // the prompt itself if fell_back
  bool fell_back = false;
  std::string note;   // why it fell back, or what is not quite as wished; "" if all is well
  int64_t tries = 0;  // 0: nothing was asked of the model
  uint64_t seed = 0;  // of the try that was taken, of the last one if fell_back
  std::string finish_reason;
  int64_t prompt_tokens = 0, tokens = 0;  // of that try
  std::vector<int32_t> token_ids = {};    // of that try, before mending
  bool operator==(const EnhancedText&) const = default;
};

// The seed of a try, counted from 1: the first has the request's own, later ones 63 bits of a
// SHA-256 over seed and try, so that they don't meet the seeds of neighbours.
uint64_t seed_of_try(uint64_t seed, int64_t number);

// Works in rounds: all first tries together, then all second tries of what was refused, and so on.
// Texts of one prompt in one style differ: one that equals an earlier one is tried again, and kept
// with a note if it can't be helped.
class Enhancer {
 public:
  // Keeps a reference.
  explicit Enhancer(TextMaker& maker) : maker_(maker) {}

  // A text of that prompt and style that exists already, so that no new one will equal it.
  void avoid(const std::string& prompt, const Style& style, const std::string& text);

  // One text for each request, in their order. `finished` is called once for each as soon as it is
  // settled, so that it can be put on disk. With a temperature of 0 there is one try: another seed
  // would change nothing. Throws what the maker and `finished` throw.
  std::vector<EnhancedText> enhance(
      std::span<const EnhanceRequest> requests,
      const std::function<void(size_t request, const EnhancedText&)>& finished = {});

 private:
  struct Work;
  void settle(Work& work, size_t request, uint64_t seed, MadeText made);
  const TokenCounter& counter(const EnhanceRequest& request);

  TextMaker& maker_;
  std::map<std::pair<TextEncoder, std::filesystem::path>, TokenCounter> counters_;
  std::map<std::string, std::set<std::string>> texts_;  // by prompt and style
};

}  // namespace backlot
