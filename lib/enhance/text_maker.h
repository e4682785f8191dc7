// What enhancement needs of a language model: chats in, texts out, many at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "spec/style.h"

namespace backlot {

struct TextRequest {
  Json messages;  // [{"role": "system" | "user" | "assistant", "content": text}, …]
  uint64_t seed = 0;
  TextSampling sampling;
};

struct MadeText {
  std::string text;           // without the prompt and without the model's end mark
  std::string finish_reason;  // "stop": ended by itself; "length": at max_tokens or the context
  int64_t prompt_tokens = 0, tokens = 0;
  std::vector<int32_t> token_ids = {};  // of the text as it was made
  // Why this request can't be served, whatever the seed (a prompt longer than the context); the
  // rest then says nothing. "" otherwise.
  std::string error;
};

class TextMaker {
 public:
  virtual ~TextMaker() = default;

  // Calls `made` once for each request, on the calling thread, in any order, each as soon as it is
  // known. A text depends on its request alone, not on what it is made with. Throws what ends the
  // run: Interrupted, OutOfMemory, EnvironmentError.
  virtual void make(std::span<const TextRequest> requests,
                    const std::function<void(size_t request, MadeText)>& made) = 0;
};

}  // namespace backlot
