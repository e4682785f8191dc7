// Texts from a language model, many at a time: requests join as others end (continuous batching;
// Yu et al., Orca, OSDI 2022), long prompts are computed in parts between the others' tokens
// (chunked prefill; Agrawal et al., Sarathi, arXiv 2308.16369), and a beginning that several
// requests have in common is computed once. None of that changes a text, but for rounding.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/language_model.h"
#include "language/sampler.h"
#include "language/token_pieces.h"

namespace backlot {

struct GenerationRequest {
  std::string name = "prompt";  // begins the messages of errors
  std::vector<int32_t> prompt;  // token ids
  Sampling sampling;
  int64_t max_tokens = 256;               // at most this many; less where the context ends first
  std::vector<std::string> stop_strings;  // the text ends before the first of them
  bool ignore_eos = false;                // end tokens count as any other
  // Called with text as it becomes certain, in whole UTF-8 characters; together the result's text.
  // May call submit() and cancel(). What it throws comes out of step().
  std::function<void(std::string_view)> on_text = {};
};

enum class FinishReason {
  stop,       // an end token or a stop string
  length,     // max_tokens, or the end of the context
  cancelled,  // cancel()
};
std::string_view finish_reason_name(FinishReason reason);  // "stop", "length", "cancelled"

struct GenerationResult {
  std::vector<int32_t> token_ids;  // what was generated, with the end token if there was one and
                                   // with the tokens of a stop string
  std::string text;                // well-formed UTF-8, without special tokens and stop string
  FinishReason finish_reason = FinishReason::stop;
  int64_t prompt_tokens = 0;
  int64_t shared_tokens = 0;     // of the prompt, computed for another request before
  double wait_seconds = 0.0;     // from submit() until work on it began
  double prefill_seconds = 0.0;  // from then until the first token
  double decode_seconds = 0.0;   // from then until the last
};

// Exactly one of result and error is there.
struct GenerationOutcome {
  int64_t id = 0;
  std::optional<GenerationResult> result;
  std::optional<ItemError> error;
};

struct GenerationStatistics {
  int64_t requests = 0, failed = 0;  // that ended, and those of them with an error
  int64_t steps = 0;                 // forward passes
  int64_t prompt_tokens = 0;         // of prompts of requests that were begun
  int64_t shared_tokens = 0;         // of those, not computed again
  int64_t prefill_tokens = 0;        // computed for prompts, and again after a preemption
  int64_t decode_tokens = 0;         // computed one by one, each for the next
  int64_t generated_tokens = 0;
  int64_t preemptions = 0;    // sequences that gave their blocks to older ones
  int64_t most_together = 0;  // sequences in one pass
  // Time in the model and in sampling. A pass that does both counts for each by its tokens.
  double prefill_seconds = 0.0, decode_seconds = 0.0;

  double prefill_tokens_per_second() const;  // 0 before there were any
  double decode_tokens_per_second() const;
};

struct GeneratorOptions {
  int64_t max_sequences = 64;    // together
  int64_t step_tokens = 512;     // in one pass; prompts take what those that generate leave
  int64_t sampling_threads = 0;  // 0: as the machine has cores
  std::function<bool()> stop_requested = {};  // asked before every pass
};

// Not safe for use from two threads at once.
class Generator {
 public:
  // Both must outlive it. The model's blocks are this generator's alone.
  Generator(LanguageModel& model, const TokenPieces& pieces, const GeneratorOptions& options = {});
  ~Generator();

  // Adds a request; step() works on it. What is wrong with it is in its outcome (ItemError): no
  // prompt, a prompt beyond the context or the room for keys and values, tokens that the model
  // does not have, numbers out of range. Returns its id.
  int64_t submit(GenerationRequest request);

  // Ends a request at the next step with what it has. Nothing happens if it has ended.
  void cancel(int64_t id);

  bool idle() const;  // whether there is nothing to do

  // One pass of the model over as many sequences as fit. Returns the requests that ended. Out of
  // memory, it goes on with smaller passes. Throws Interrupted if asked to stop, and what the model
  // throws that is no ItemError (a lost device); requests may be continued after.
  std::vector<GenerationOutcome> step();

  // All of them, from the first to the last step. Outcomes are in the order of the requests. What
  // step() throws comes out; the requests stay, and their outcomes so far are lost.
  std::vector<GenerationOutcome> run(std::vector<GenerationRequest> requests);

  const GenerationStatistics& statistics() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace backlot
