#include "pipelines/prompt_encoder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace backlot {
namespace {

// Two texts of each are within what text encoders remember.
constexpr size_t most_prepared = 100;

const std::string& or_else(const std::optional<std::string>& text, const std::string& otherwise) {
  return text && !text->empty() ? *text : otherwise;
}

void warn_of_truncation(std::vector<std::string>& warnings, const char* field, int64_t length,
                        const TextEncoding& encoding) {
  if (encoding.truncated.empty()) return;
  const auto warning = fmt::format("{} truncated to {} tokens, left out: {}", field, length,
                                   printable(encoding.truncated));
  if (std::find(warnings.begin(), warnings.end(), warning) == warnings.end()) {
    warnings.push_back(warning);
  }
}

}  // namespace

PromptEncoder::PromptEncoder(TextEncoder first, TextEncoder second, NullNegative null_negative,
                             TextEncoders encoders)
    : first_(std::move(first)),
      second_(std::move(second)),
      null_negative_(null_negative),
      encoders_(encoders) {
  if (encoders_ == TextEncoders::out) return;
  first_.hold();
  second_.hold();
}

bool PromptEncoder::move_out() {
  if (encoders_ == TextEncoders::out) return false;
  encoders_ = TextEncoders::out;
  release_if_out(first_);
  release_if_out(second_);
  return true;
}

void PromptEncoder::release_if_out(TextEncoder& encoder) {
  if (encoders_ == TextEncoders::out) encoder.release();
}

void PromptEncoder::prepare(std::span<const ImageRequest> requests, int64_t together) {
  if (encoders_ == TextEncoders::held) return;
  insist_on_clip_skip(requests);
  const auto size = static_cast<size_t>(std::max<int64_t>(together, 1));
  requests = requests.first(std::min(requests.size(), std::max(most_prepared, size)));
  for (const size_t i : {size_t{0}, size_t{1}}) {
    auto& encoder = i == 0 ? first_ : second_;
    for (size_t at = 0; at < requests.size(); at += size) {
      encoder.encode(keys(requests.subspan(at, std::min(size, requests.size() - at)), i));
    }
    encoder.release();
  }
}

// The positive and the negative text of each request, one after the other. Texts that no guidance
// will ask for stand as the positive one, which costs nothing.
std::vector<TextKey> PromptEncoder::keys(std::span<const ImageRequest> requests,
                                         size_t encoder) const {
  static const std::string empty;
  std::vector<TextKey> keys;
  for (const auto& request : requests) {
    const auto& positive =
        encoder == 0 ? request.prompt : or_else(request.prompt_2, request.prompt);
    keys.push_back(
        {positive, request.clip_skip, request.chunk_long_prompts, request.prompt_weighting});
    const bool zeros = !request.negative_prompt && null_negative_ == NullNegative::zeros;
    if (zeros || !guided(request)) {
      keys.push_back(keys.back());
      continue;
    }
    const auto& negative = or_else(request.negative_prompt, empty);
    keys.push_back({encoder == 0 ? negative : or_else(request.negative_prompt_2, negative), 0,
                    request.chunk_long_prompts, request.prompt_weighting});
  }
  return keys;
}

Tensor PromptEncoder::padded(TextEncoder& encoder, const TextEncoding& encoding, int64_t chunks,
                             int64_t skip) {
  const int64_t missing = chunks - encoding.hidden.size(0) / encoder.chunk_length();
  if (missing == 0) return encoding.hidden;
  const TextKey empty{.skip = skip};
  const auto filler = encoder.encode({&empty, 1}).front()->hidden;
  return at::cat({encoding.hidden, filler.repeat({missing, 1})});
}

Tensor PromptEncoder::join(const TextEncoding& first, const TextEncoding& second, int64_t chunks,
                           int64_t skip) {
  return at::cat({padded(first_, first, chunks, skip), padded(second_, second, chunks, skip)}, 1);
}

void PromptEncoder::insist_on_clip_skip(std::span<const ImageRequest> requests) const {
  for (const auto& request : requests) {
    const auto most = std::min(first_.layers(), second_.layers()) - 1;
    if (request.clip_skip < 0 || request.clip_skip > most) {
      throw ItemError("clip_skip", fmt::format("{} is out of range", request.clip_skip),
                      fmt::format("this model allows 0 to {}", most));
    }
  }
}

std::vector<EncodedPrompt> PromptEncoder::encode(std::span<const ImageRequest> requests) {
  insist_on_clip_skip(requests);
  const auto first = first_.encode(keys(requests, 0));
  release_if_out(first_);
  const auto second = second_.encode(keys(requests, 1));
  release_if_out(second_);
  std::vector<EncodedPrompt> prompts;
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto& request = requests[i];
    int64_t chunks = 0;
    for (const size_t j : {2 * i, 2 * i + 1}) {
      chunks = std::max({chunks, first[j]->hidden.size(0) / first_.chunk_length(),
                         second[j]->hidden.size(0) / second_.chunk_length()});
    }
    EncodedPrompt prompt;
    const auto note = [&](const char* field, const char* field_2, size_t j) {
      warn_of_truncation(prompt.warnings, field, first_.chunk_length(), *first[j]);
      if (first[j]->truncated != second[j]->truncated) {
        warn_of_truncation(prompt.warnings, field_2, second_.chunk_length(), *second[j]);
      }
    };
    prompt.positive = join(*first[2 * i], *second[2 * i], chunks, request.clip_skip);
    prompt.positive_pooled = second[2 * i]->pooled;
    note("prompt", "prompt_2", 2 * i);
    if (guided(request) && !request.negative_prompt && null_negative_ == NullNegative::zeros) {
      prompt.negative = at::zeros_like(prompt.positive);
      prompt.negative_pooled = at::zeros_like(prompt.positive_pooled);
    } else if (guided(request)) {
      prompt.negative = join(*first[2 * i + 1], *second[2 * i + 1], chunks, 0);
      prompt.negative_pooled = second[2 * i + 1]->pooled;
      note("negative_prompt", "negative_prompt_2", 2 * i + 1);
    }
    prompts.push_back(std::move(prompt));
  }
  // Padding a short text may have asked for the empty one.
  release_if_out(first_);
  release_if_out(second_);
  return prompts;
}

}  // namespace backlot
