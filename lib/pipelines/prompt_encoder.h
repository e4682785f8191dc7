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

// Whether text encoders stay in memory, or are there only while they are at work.
enum class TextEncoders { held, out };

class PromptEncoder {
 public:
  PromptEncoder(TextEncoder first, TextEncoder second, NullNegative null_negative,
                TextEncoders encoders);

  // One for each request. Without guidance the negative tensors are undefined. Throws ItemError if
  // a clip_skip is out of range.
  std::vector<EncodedPrompt> encode(std::span<const ImageRequest> requests);

  // Where the encoders are out of memory: encodes what encode() will be asked for by batches of
  // `together` requests, a hundred requests at the most, reading each encoder once. In the same
  // pieces as these batches would, so that encodings are the same to the bit.
  void prepare(std::span<const ImageRequest> requests, int64_t together);

  // From now on they are out of memory. False: they were already.
  bool move_out();
  bool out() const { return encoders_ == TextEncoders::out; }

 private:
  // What each of the two encoders reads for `requests`: two keys a request.
  std::vector<TextKey> keys(std::span<const ImageRequest> requests, size_t encoder) const;
  Tensor join(const TextEncoding& first, const TextEncoding& second, int64_t chunks, int64_t skip);
  Tensor padded(TextEncoder& encoder, const TextEncoding& encoding, int64_t chunks, int64_t skip);

  void insist_on_clip_skip(std::span<const ImageRequest> requests) const;
  void release_if_out(TextEncoder& encoder);

  TextEncoder first_, second_;
  NullNegative null_negative_;
  TextEncoders encoders_;
};

// Whether diffusers would guide this request.
inline bool guided(const ImageRequest& request) { return request.guidance_scale > 1; }

}  // namespace backlot
