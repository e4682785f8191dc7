#include "enhance/session_text_maker.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/error.h"

namespace backlot {
namespace {

Sampling sampling_for(const TextRequest& request) {
  const TextSampling& from = request.sampling;
  return {.temperature = from.temperature,
          .top_k = from.top_k,
          .top_p = from.top_p,
          .min_p = from.min_p,
          .repetition_penalty = from.repetition_penalty,
          .seed = request.seed};
}

MadeText refused(const Error& error) {
  MadeText made;
  made.error = fmt::format("{}; {}", error.problem(), error.mend());
  return made;
}

MadeText made_text(const GenerationOutcome& outcome) {
  if (outcome.error) return refused(*outcome.error);
  const GenerationResult& result = *outcome.result;
  MadeText made;
  made.text = result.text;
  made.token_ids = result.token_ids;
  made.finish_reason = finish_reason_name(result.finish_reason);
  made.prompt_tokens = result.prompt_tokens;
  made.tokens = static_cast<int64_t>(result.token_ids.size());
  return made;
}

}  // namespace

void SessionTextMaker::make(std::span<const TextRequest> requests,
                            const std::function<void(size_t, MadeText)>& made) {
  std::vector<GenerationRequest> asked;
  std::vector<size_t> places;
  for (size_t i = 0; i < requests.size(); ++i) {
    GenerationRequest request;
    try {
      request.prompt = session_.encode_chat(requests[i].messages);
    } catch (const ItemError& error) {
      made(i, refused(error));
      continue;
    }
    request.sampling = sampling_for(requests[i]);
    request.max_tokens = requests[i].sampling.max_tokens;
    request.ignore_eos = ignore_eos_;
    request.stop_strings = requests[i].sampling.stop;
    if (heard_) request.on_text = heard_;
    asked.push_back(std::move(request));
    places.push_back(i);
  }
  session_.run(std::move(asked), [&](size_t place, const GenerationOutcome& outcome) {
    made(places[place], made_text(outcome));
  });
}

}  // namespace backlot
