// Runs of tokens as the tensors that CausalLM takes.
#pragma once

#include <span>
#include <vector>

#include "engine/language_model.h"
#include "models/causal_lm.h"

namespace backlot {

// A forward pass over several sequences: runs of one token first, which are attended together.
struct TokenPass {
  at::Tensor ids;                  // [tokens] int64
  TokenPlaces places;              // on the device
  std::vector<int64_t> last_rows;  // of each of the caller's runs: the row of its last token
};

TokenPass make_token_pass(std::span<const TokenRun> runs, int64_t block_tokens, at::Device device);

}  // namespace backlot
