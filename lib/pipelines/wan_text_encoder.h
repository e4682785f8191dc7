// Wan's prompts: cleaned, cut into tokens, read by UMT5, and remembered.
//
// Reference: WanPipeline._get_t5_prompt_embeds of diffusers 0.42.1.
#pragma once

#include <functional>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/video.h"
#include "models/umt5_encoder.h"
#include "text/unigram_tokenizer.h"

namespace backlot {

class WanTextEncoder {
 public:
  // `read` gives the network on a device: now if it is held there, and whenever it is needed if
  // not.
  WanTextEncoder(UnigramTokenizer tokenizer, std::function<UMT5Encoder(at::Device)> read,
                 TextEncoderPlace place, at::Device device);

  // Without a network: random hidden states of that width for every token, the same for a text
  // every time, for measurements of the other networks.
  static WanTextEncoder random(int64_t width, at::ScalarType dtype, at::Device device);

  // [1, length, D] on the device, zeros behind the text. A text that is cut gives a warning.
  Tensor encode(const std::string& prompt, int64_t length, std::vector<std::string>& warnings);

  // Gives the network's memory back where it is there for encoding only. What was encoded is still
  // remembered.
  void release();

  TextEncoderPlace place() const { return place_; }

  // To a place that takes less of the device's memory; false if this is none.
  bool move(TextEncoderPlace place);

 private:
  struct Known {
    std::string text;
    int64_t length;
    Tensor hidden;  // [tokens, D]
    bool cut;
  };
  WanTextEncoder(int64_t width, at::ScalarType dtype, at::Device device)
      : device_(device), random_width_(width), random_dtype_(dtype) {}

  const Known& read(const std::string& text, int64_t length);
  const Known& remember(Known known);

  std::optional<UnigramTokenizer> tokenizer_;  // none where texts are random
  std::function<UMT5Encoder(at::Device)> read_;
  TextEncoderPlace place_ = TextEncoderPlace::held;
  at::Device device_;
  std::optional<UMT5Encoder> model_;
  std::list<Known> recent_;  // the latest first
  int64_t random_width_ = 0;
  at::ScalarType random_dtype_ = at::kFloat;
};

}  // namespace backlot
