// Which token comes next. Order and semantics of the filters are transformers 5's (generate() in
// generation/utils.py, logits_process.py): repetition penalty, temperature, top-k, top-p, min-p.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace backlot {

// Each filter sees what the one before it left. The most likely token is always left.
struct Sampling {
  double temperature = 0.0;  // 0: the largest logit, the first of equals; top_k … seed don't count
  int64_t top_k = 0;         // 0: all; else the k most likely and those as likely as the last
  double top_p = 1.0;  // 0 … 1: the most likely until their probabilities reach it; of equals, the
                       // smaller id first
  double min_p = 0.0;  // 0 … 1: those at least this times as likely as the most likely one
  double repetition_penalty = 1.0;  // > 0: divides positive and multiplies negative logits of
                                    // tokens of the prompt and the text so far
  uint64_t seed = 0;

  // Whether the token of the largest logit is all that is asked for.
  bool greedy() const { return temperature == 0.0 && repetition_penalty == 1.0; }
};

// Throws ItemError naming the number that is out of its range; `where` begins the message.
void check_sampling(const Sampling& sampling, const std::string& where);

// Holds room for its work only: what it returns depends on the arguments alone. Not safe for use
// from two threads at once.
class Sampler {
 public:
  struct Candidate {
    int32_t token = 0;
    float weight = 0.0f;  // its probability, times the same factor for all candidates
  };

  // The token at `index` (from 0) of a text, given the logits for its place and the tokens before
  // it, prompt included. Drawn by the number uniform_for(seed, index) from the candidates in the
  // order of their ids. Logits of -inf are tokens that can't come. Throws ItemError if one is NaN
  // or +inf, or all are -inf.
  int32_t sample(const Sampling& sampling, std::span<const float> logits,
                 std::span<const int32_t> history, uint64_t index, const std::string& where);

  // What sample() draws from, in the order of ids; one if the temperature is 0. Valid until the
  // next call. Throws as sample().
  std::span<const Candidate> candidates(const Sampling& sampling, std::span<const float> logits,
                                        std::span<const int32_t> history, const std::string& where);

 private:
  std::span<const float> penalised(double penalty, std::span<const float> logits,
                                   std::span<const int32_t> history);
  float kth_largest(std::span<const float> logits, size_t k);
  void keep_top_p(double goal);

  std::vector<float> penalised_, values_;
  std::vector<bool> seen_;  // by token; all false between calls
  std::vector<Candidate> candidates_, border_;
  std::vector<double> masses_;
};

}  // namespace backlot
