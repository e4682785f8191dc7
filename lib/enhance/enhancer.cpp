#include "enhance/enhancer.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/sha256.h"
#include "base/text.h"
#include "enhance/chat.h"

namespace backlot {
namespace {

std::string key_of(const std::string& prompt, const Style& style) {
  return style.sha256 + "\n" + prompt;
}

}  // namespace

uint64_t seed_of_try(uint64_t seed, int64_t number) {
  if (number == 1) return seed;
  const std::string hash = sha256_hex(fmt::format("enhance {} {}", seed, number));
  return std::stoull(hash.substr(0, 16), nullptr, 16) >> 1;
}

// One call of enhance().
struct Enhancer::Work {
  std::span<const EnhanceRequest> requests;
  const std::function<void(size_t, const EnhancedText&)>& finished;
  std::vector<EnhancedText> results;
  std::vector<EnhancedText> equal;  // good but for equalling another text; tries is 0 if none
  std::vector<size_t> open;         // not settled
  std::vector<size_t> again;        // of those, to be tried once more
  int64_t number = 0;               // of the try

  void finish(size_t request, EnhancedText result) {
    results[request] = std::move(result);
    if (finished) finished(request, results[request]);
  }

  void fall_back(size_t request, std::string note, EnhancedText last = {}) {
    last.text = requests[request].prompt;
    last.fell_back = true;
    last.note = std::move(note);
    finish(request, std::move(last));
  }
};

void Enhancer::avoid(const std::string& prompt, const Style& style, const std::string& text) {
  texts_[key_of(prompt, style)].insert(text);
}

const TokenCounter& Enhancer::counter(const EnhanceRequest& request) {
  const TextEncoder encoder = request.style->limits.encoder;
  auto& counter = counters_[{encoder, request.tokenizer}];
  if (!counter) counter = token_counter(encoder, request.tokenizer);
  return counter;
}

std::vector<EnhancedText> Enhancer::enhance(
    std::span<const EnhanceRequest> requests,
    const std::function<void(size_t request, const EnhancedText&)>& finished) {
  Work work{.requests = requests,
            .finished = finished,
            .results = std::vector<EnhancedText>(requests.size()),
            .equal = std::vector<EnhancedText>(requests.size()),
            .open = {},
            .again = {}};
  for (size_t i = 0; i < requests.size(); ++i) {
    counter(requests[i]);  // what is missing is found before any work
    if (trim(requests[i].prompt).empty())
      work.fall_back(i, "the prompt is empty");
    else
      work.open.push_back(i);
  }
  while (!work.open.empty()) {
    ++work.number;
    std::vector<TextRequest> chats;
    for (const size_t i : work.open)
      chats.push_back({chat_for(*requests[i].style, requests[i].prompt),
                       seed_of_try(requests[i].seed, work.number), requests[i].sampling});
    maker_.make(chats, [&](size_t chat, MadeText made) {
      settle(work, work.open.at(chat), chats[chat].seed, std::move(made));
    });
    std::ranges::sort(work.again);
    work.open = std::exchange(work.again, {});
  }
  return std::move(work.results);
}

void Enhancer::settle(Work& work, size_t request, uint64_t seed, MadeText made) {
  const EnhanceRequest& asked = work.requests[request];
  EnhancedText result{.text = {},
                      .tries = work.number,
                      .seed = seed,
                      .finish_reason = made.finish_reason,
                      .prompt_tokens = made.prompt_tokens,
                      .tokens = made.tokens,
                      .token_ids = std::move(made.token_ids)};
  if (!made.error.empty())
    return work.fall_back(request, "the prompt is kept: " + made.error, std::move(result));
  const bool cut_off = made.finish_reason == "length";
  const TextLimits& limits = asked.style->limits;
  Verdict verdict = check_text(made.text, asked.prompt, limits, counter(asked), cut_off);
  result.text = verdict.text;
  if (verdict.good()) {
    if (texts_[key_of(asked.prompt, *asked.style)].insert(verdict.text).second)
      return work.finish(request, std::move(result));
    result.note = "equals another variant's text";
    work.equal[request] = result;
  }
  const bool draws = asked.sampling.temperature > 0;
  if (draws && work.number <= asked.retries) return work.again.push_back(request);
  if (work.equal[request].tries > 0) return work.finish(request, work.equal[request]);
  work.fall_back(request,
                 fmt::format("the prompt is kept: after {} {} the text {}", work.number,
                             work.number == 1 ? "try" : "tries", verdict.reason),
                 std::move(result));
}

}  // namespace backlot
