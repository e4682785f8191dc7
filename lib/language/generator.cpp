#include "language/generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <stdexcept>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/text.h"
#include "language/schedule.h"
#include "language/text_stream.h"
#include "run/in_parallel.h"

namespace backlot {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// A request on its way.
struct Text : Sequence {
  explicit Text(GenerationRequest r) : request(std::move(r)), stream(request.stop_strings) {}

  GenerationRequest request;
  TextStream stream;
  int64_t prompt_tokens = 0;
  int64_t most_tokens = 0;  // to generate
  bool cancelled = false;
  Clock::time_point submitted = Clock::now(), begun, first_token;
  int64_t generated() const { return static_cast<int64_t>(tokens.size()) - prompt_tokens; }
};

Text& text_of(const Schedule::Run& run) { return static_cast<Text&>(*run.sequence); }

bool is_decode(const Schedule::Run& run) { return run.tokens == 1 && text_of(run).generated() > 0; }

GenerationResult result_of(const Text& text, FinishReason reason) {
  const auto now = Clock::now();
  GenerationResult result;
  result.token_ids.assign(text.tokens.begin() + text.prompt_tokens, text.tokens.end());
  result.text = text.stream.text();
  result.finish_reason = reason;
  result.prompt_tokens = text.prompt_tokens;
  result.shared_tokens = std::max<int64_t>(text.shared, 0);
  const bool begun = text.begun != Clock::time_point(), has_token = text.generated() > 0;
  result.wait_seconds = seconds((begun ? text.begun : now) - text.submitted);
  if (begun) result.prefill_seconds = seconds((has_token ? text.first_token : now) - text.begun);
  if (has_token) result.decode_seconds = seconds(now - text.first_token);
  return result;
}

double rate(int64_t count, double time) { return time > 0.0 ? double(count) / time : 0.0; }

}  // namespace

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      break;
  }
  return "cancelled";
}

double GenerationStatistics::prefill_tokens_per_second() const {
  return rate(prefill_tokens, prefill_seconds);
}

double GenerationStatistics::decode_tokens_per_second() const {
  return rate(decode_tokens, decode_seconds);
}

class Generator::State {
 public:
  State(LanguageModel& model, const TokenPieces& pieces, const GeneratorOptions& options);

  int64_t submit(GenerationRequest request);
  void cancel(int64_t id);
  bool idle() const { return schedule_.empty() && ended_.empty() && shown_.empty(); }
  std::vector<GenerationOutcome> step();
  std::vector<GenerationOutcome> run(std::vector<GenerationRequest> requests);
  const GenerationStatistics& statistics() const { return statistics_; }

 private:
  using Runs = std::span<const Schedule::Run>;
  struct Chosen {
    int32_t token = -1;
    std::optional<ItemError> error;
  };

  int64_t tokens_to_generate(const GenerationRequest& request) const;
  void end_cancelled();
  void note_begun(Runs runs);
  bool compute(Runs runs);
  std::vector<Chosen> forward(Runs runs);
  void choose(std::span<const float> logits, std::span<const Text* const> texts,
              std::span<Chosen* const> chosen);
  void accept(const Schedule::Run& run, const Chosen& chosen);
  bool take_token(Text& text, int32_t token);
  void end(Text& text, FinishReason reason);
  void fail(Text& text, const Error& error);
  void show(Text& text);
  void deliver();
  void count(Runs runs, double time);

  LanguageModel& model_;
  const TokenPieces& pieces_;
  GeneratorOptions options_;
  Schedule schedule_;
  std::vector<Sampler> samplers_;
  int64_t next_id_ = 0;
  std::vector<int64_t> cancelled_;
  std::vector<GenerationOutcome> ended_;  // not yet returned
  std::deque<std::pair<std::function<void(std::string_view)>, std::string>> shown_;  // not yet told
  GenerationStatistics statistics_;
};

Generator::State::State(LanguageModel& model, const TokenPieces& pieces,
                        const GeneratorOptions& options)
    : model_(model),
      pieces_(pieces),
      options_(options),
      schedule_(BlockPool(model.block_count(), model.block_tokens()),
                std::max<int64_t>(options.max_sequences, 1)) {
  options_.step_tokens = std::max<int64_t>(options.step_tokens, 1);
  const int64_t threads =
      options.sampling_threads > 0 ? options.sampling_threads : std::thread::hardware_concurrency();
  samplers_.resize(std::max<int64_t>(threads, 1));
}

// Throws ItemError if the request can't be met.
int64_t Generator::State::tokens_to_generate(const GenerationRequest& request) const {
  const auto tokens = static_cast<int64_t>(request.prompt.size());
  const auto& name = request.name;
  check_sampling(request.sampling, name);
  if (tokens == 0) throw ItemError(name, "the prompt is empty", "give it at least one token");
  for (const int32_t token : request.prompt)
    if (token < 0 || token >= model_.vocabulary_size())
      throw ItemError(name,
                      fmt::format("token {} of the prompt is not among the model's {}", token,
                                  model_.vocabulary_size()),
                      "use the tokenizer that belongs to the model");
  if (request.max_tokens < 1)
    throw ItemError(name, fmt::format("{} tokens make no text", request.max_tokens),
                    "raise max_tokens");
  for (const auto& stop : request.stop_strings)
    if (stop.empty() || !is_utf8(stop))
      throw ItemError(name, stop.empty() ? "a stop string is empty" : "a stop string is no UTF-8",
                      "correct it or leave it out");
  if (tokens >= model_.context_length())
    throw ItemError(name,
                    fmt::format("{} tokens of prompt, the model's context is {}", tokens,
                                model_.context_length()),
                    "shorten the prompt");
  // Keys and values of the last token are never needed.
  const int64_t room = model_.block_count() * model_.block_tokens();
  if (tokens > room)
    throw ItemError(name,
                    fmt::format("{} tokens of prompt, the cache of keys and values has room for {}",
                                tokens, room),
                    "shorten the prompt, or give the cache more room");
  return std::min(request.max_tokens, std::min(model_.context_length(), room + 1) - tokens);
}

int64_t Generator::State::submit(GenerationRequest request) {
  const int64_t id = next_id_++;
  try {
    const int64_t most_tokens = tokens_to_generate(request);
    auto text = std::make_unique<Text>(std::move(request));
    text->id = id;
    text->tokens = std::move(text->request.prompt);
    text->prompt_tokens = static_cast<int64_t>(text->tokens.size());
    text->most_tokens = most_tokens;
    schedule_.add(std::move(text));
  } catch (const ItemError& error) {
    ++statistics_.requests;
    ++statistics_.failed;
    ended_.push_back({id, std::nullopt, error});
  }
  return id;
}

void Generator::State::cancel(int64_t id) {
  if (schedule_.find(id)) cancelled_.push_back(id);
}

void Generator::State::end_cancelled() {
  for (const int64_t id : std::exchange(cancelled_, {}))
    if (auto* sequence = schedule_.find(id))
      end(static_cast<Text&>(*sequence), FinishReason::cancelled);
}

std::vector<GenerationOutcome> Generator::State::step() {
  deliver();  // what a listener's exception left
  if (options_.stop_requested && options_.stop_requested()) throw Interrupted();
  end_cancelled();
  while (ended_.empty() && !schedule_.empty()) {
    const auto runs = schedule_.plan(options_.step_tokens);
    if (runs.empty()) throw std::logic_error("sequences wait and none can run");
    note_begun(runs);
    if (compute(runs)) break;
  }
  deliver();
  return std::exchange(ended_, {});
}

void Generator::State::note_begun(Runs runs) {
  for (const auto& run : runs) {
    Text& text = text_of(run);
    if (text.begun != Clock::time_point()) continue;
    text.begun = Clock::now();
    statistics_.prompt_tokens += text.prompt_tokens;
    statistics_.shared_tokens += text.shared;
  }
}

// False if memory did not suffice and the next pass has to be smaller.
bool Generator::State::compute(Runs runs) {
  const auto begin = Clock::now();
  std::vector<Chosen> chosen;
  try {
    chosen = forward(runs);
  } catch (const ItemError& error) {
    int64_t tokens = 0;
    for (const auto& run : runs) tokens += run.tokens;
    if (tokens > 1 && dynamic_cast<const OutOfMemory*>(&error)) {
      options_.step_tokens = tokens / 2;
      return false;
    }
    if (runs.size() == 1) {
      fail(text_of(runs[0]), error);
    } else {
      for (size_t i = 0; i < runs.size(); ++i) compute(runs.subspan(i, 1));  // whose fault it is
    }
    return true;
  }
  count(runs, seconds(Clock::now() - begin));
  for (size_t i = 0; i < runs.size(); ++i) accept(runs[i], chosen[i]);
  return true;
}

// The next token of each run that reaches the end of its sequence.
std::vector<Generator::State::Chosen> Generator::State::forward(Runs runs) {
  std::vector<TokenRun> token_runs;
  for (const auto& run : runs) {
    const Text& text = text_of(run);
    TokenRun& r = token_runs.emplace_back();
    r.tokens = std::span(text.tokens).subspan(text.computed, run.tokens);
    r.position = text.computed;
    r.blocks = text.blocks;
    r.wanted = run.tokens < text.pending()      ? TokenRun::Wanted::nothing
               : text.request.sampling.greedy() ? TokenRun::Wanted::best
                                                : TokenRun::Wanted::logits;
  }
  const ForwardResult result = model_.forward(token_runs);

  std::vector<Chosen> chosen(runs.size());
  std::vector<const Text*> sampled;
  std::vector<Chosen*> places;
  size_t next_best = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (token_runs[i].wanted == TokenRun::Wanted::best) chosen[i].token = result.best[next_best++];
    if (token_runs[i].wanted != TokenRun::Wanted::logits) continue;
    sampled.push_back(&text_of(runs[i]));
    places.push_back(&chosen[i]);
  }
  choose(result.logits, sampled, places);
  return chosen;
}

void Generator::State::choose(std::span<const float> logits, std::span<const Text* const> texts,
                              std::span<Chosen* const> chosen) {
  const auto vocabulary = static_cast<size_t>(model_.vocabulary_size());
  // A row takes some ten microseconds to some hundred; a thread takes some ten to start.
  const size_t slices = std::min(samplers_.size(), (texts.size() + 3) / 4);
  in_parallel(
      slices,
      [&](size_t slice) {
        for (size_t i = slice; i < texts.size(); i += slices) try {
            const Text& text = *texts[i];
            chosen[i]->token = samplers_[slice].sample(
                text.request.sampling, logits.subspan(i * vocabulary, vocabulary), text.tokens,
                static_cast<uint64_t>(text.generated()), text.request.name);
          } catch (const ItemError& error) {
            chosen[i]->error = error;
          }
      },
      slices);
}

void Generator::State::accept(const Schedule::Run& run, const Chosen& chosen) {
  Text& text = text_of(run);
  const bool complete = run.tokens == text.pending();
  schedule_.finish(run);
  if (!complete) return;
  if (chosen.error) return fail(text, *chosen.error);
  if (chosen.token < 0 || chosen.token >= model_.vocabulary_size())
    return fail(text, ItemError("", "the model's numbers left the range of its precision",
                                "use a higher precision, or check the model's files"));
  if (text.generated() == 0) text.first_token = Clock::now();
  ++statistics_.generated_tokens;
  if (take_token(text, chosen.token)) return end(text, FinishReason::stop);
  if (text.generated() == text.most_tokens) return end(text, FinishReason::length);
  show(text);
}

// True if the text ends with it.
bool Generator::State::take_token(Text& text, int32_t token) {
  text.tokens.push_back(token);
  if (pieces_.ends_text(token) && !text.request.ignore_eos) return true;
  return !pieces_.is_special(token) && text.stream.add(pieces_.bytes(token));
}

void Generator::State::end(Text& text, FinishReason reason) {
  text.stream.end();
  show(text);
  ++statistics_.requests;
  ended_.push_back({text.id, result_of(text, reason), std::nullopt});
  schedule_.remove(text.id);
}

void Generator::State::fail(Text& text, const Error& error) {
  ++statistics_.requests;
  ++statistics_.failed;
  ended_.push_back(
      {text.id, std::nullopt, ItemError(text.request.name, error.problem(), error.mend())});
  schedule_.remove(text.id);
}

void Generator::State::show(Text& text) {
  if (!text.request.on_text) return;
  if (auto piece = text.stream.take(); !piece.empty())
    shown_.emplace_back(text.request.on_text, std::move(piece));
}

// Listeners are told when the pass is over, since they may submit and cancel.
void Generator::State::deliver() {
  while (!shown_.empty()) {
    const auto [listener, piece] = std::move(shown_.front());
    shown_.pop_front();
    listener(piece);
  }
}

void Generator::State::count(Runs runs, double time) {
  int64_t prefill = 0, decode = 0;
  for (const auto& run : runs) (is_decode(run) ? decode : prefill) += run.tokens;
  auto& s = statistics_;
  ++s.steps;
  s.prefill_tokens += prefill;
  s.decode_tokens += decode;
  s.prefill_seconds += time * double(prefill) / double(prefill + decode);
  s.decode_seconds += time * double(decode) / double(prefill + decode);
  s.most_together = std::max(s.most_together, static_cast<int64_t>(runs.size()));
  s.preemptions = schedule_.preemptions();
}

std::vector<GenerationOutcome> Generator::State::run(std::vector<GenerationRequest> requests) {
  std::vector<GenerationOutcome> outcomes(requests.size()), others;
  const int64_t first = next_id_;
  size_t left = requests.size();
  for (auto& request : requests) submit(std::move(request));
  while (left > 0)
    for (auto& outcome : step()) {
      const auto i = static_cast<size_t>(outcome.id - first);
      const bool ours = outcome.id >= first && i < outcomes.size();
      left -= ours;
      (ours ? outcomes[i] : others.emplace_back()) = std::move(outcome);
    }
  std::ranges::move(others, std::back_inserter(ended_));
  return outcomes;
}

Generator::Generator(LanguageModel& model, const TokenPieces& pieces,
                     const GeneratorOptions& options)
    : state_(std::make_unique<State>(model, pieces, options)) {}
Generator::~Generator() = default;
int64_t Generator::submit(GenerationRequest request) { return state_->submit(std::move(request)); }
void Generator::cancel(int64_t id) { state_->cancel(id); }
bool Generator::idle() const { return state_->idle(); }
std::vector<GenerationOutcome> Generator::step() { return state_->step(); }
std::vector<GenerationOutcome> Generator::run(std::vector<GenerationRequest> requests) {
  return state_->run(std::move(requests));
}
const GenerationStatistics& Generator::statistics() const { return state_->statistics(); }

}  // namespace backlot
