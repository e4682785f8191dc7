// A prompt as the token sequences that a CLIP text encoder takes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/clip_tokenizer.h"

namespace backlot {

struct PromptChunks {
  // One row a chunk, each max_length() long: bos, tokens, eos, pads.
  std::vector<std::vector<int64_t>> ids;
  // The weight of each id; 1 for bos, eos and pads.
  std::vector<std::vector<float>> weights;
  // The text that did not fit, as diffusers' warning shows it; "" if all did.
  std::string truncated;
  // Whether any weight differs from 1.
  bool weighted = false;
};

// Tokenizes `prompt`. There is at least one chunk.
//   chunk_long  off: one chunk, the rest is cut off. On: as many chunks as it takes, as in
//               AUTOMATIC1111's web UI: a full chunk ends after a comma if one of its last 20
//               tokens is one, and the word BREAK (upper case, by itself) ends a chunk, even an
//               empty one.
//   weighting   on: the syntax of parse_weights() counts; stretches are tokenized one by one.
PromptChunks chunk_prompt(const ClipTokenizer& tokenizer, std::string_view prompt, bool chunk_long,
                          bool weighting);

}  // namespace backlot
