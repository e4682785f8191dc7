// SDXL's prompts: two text encoders side by side, for what is wanted and what is not.
//
// Reference: StableDiffusionXLPipeline.encode_prompt of diffusers 0.42.1.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "pipelines/text_encoder.h"

namespace backlot {

struct EncodedPrompt {
  Tensor positive, negative;                // [T, X] each, as long as each other
  Tensor positive_pooled, negative_pooled;  // [P]
  std::vector<std::string> warnings;
};

// Whether null negative prompts are zeros in place of the encoded empty text
// (force_zeros_for_empty_prompt of model_index.json).
enum class NullNegative { zeros, empty_text };

class PromptEncoder {
 public:
  PromptEncoder(TextEncoder first, TextEncoder second, NullNegative null_negative);

  // One for each request. Without guidance the negative tensors are undefined. Throws ItemError if
  // a clip_skip is out of range.
  std::vector<EncodedPrompt> encode(std::span<const ImageRequest> requests);

 private:
  // What each of the two encoders reads for `requests`: two keys a request.
  std::vector<TextKey> keys(std::span<const ImageRequest> requests, size_t encoder) const;
  Tensor join(const TextEncoding& first, const TextEncoding& second, int64_t chunks, int64_t skip);
  Tensor padded(TextEncoder& encoder, const TextEncoding& encoding, int64_t chunks, int64_t skip);

  TextEncoder first_, second_;
  NullNegative null_negative_;
};

// Whether diffusers would guide this request.
inline bool guided(const ImageRequest& request) { return request.guidance_scale > 1; }

}  // namespace backlot
