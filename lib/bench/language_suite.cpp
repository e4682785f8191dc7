// Suite `language`: passes of a language model in this process, without tokenizer and sampling:
// long prompts, and texts that grow by a token at a time.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "base/error.h"
#include "base/time.h"
#include "bench/bench.h"

namespace backlot {
namespace {

constexpr int usual_repeats = 5;
constexpr int64_t prompt_tokens = 512;   // of prefill
constexpr int64_t context_tokens = 128;  // what each text stands after in decode
constexpr int64_t decode_steps = 16;     // a repeat

using Wanted = TokenRun::Wanted;

class LanguageProgress : public Progress {
 public:
  explicit LanguageProgress(const StopSignal& stop) : stop_(stop) {}
  void stage(std::string_view) override {}
  void step(int64_t, int64_t) override {}
  bool stop_requested() const override { return stop_.requested(); }

 private:
  const StopSignal& stop_;
};

struct LanguageCase {
  std::string name;
  int64_t batch = 0;  // 0: prefill
};

std::vector<LanguageCase> language_cases(const BenchRequest& request, const std::string& dtype) {
  std::string prefix =
      fmt::format("language/{}/{}/{}", request.language_name, request.device, dtype);
  if (request.quantize != "auto") prefix += "/quantize-" + request.quantize;
  std::vector<LanguageCase> cases{{.name = fmt::format("{}/prefill-{}", prefix, prompt_tokens)}};
  for (const int64_t batch : request.language_batch_sizes)
    cases.push_back({.name = fmt::format("{}/decode/batch-{}", prefix, batch), .batch = batch});
  std::erase_if(cases, [&](const LanguageCase& each) { return !request.wants(each.name); });
  return cases;
}

// Texts of one model, each in blocks of its own.
class Texts {
 public:
  Texts(LanguageModel& model, int64_t count, int64_t room) : model_(model) {
    const int64_t blocks = (room + model.block_tokens() - 1) / model.block_tokens();
    std::mt19937 random(1);
    std::uniform_int_distribution<int32_t> token(0,
                                                 static_cast<int32_t>(model.vocabulary_size() - 1));
    int32_t next = 0;
    for (int64_t i = 0; i < count; ++i) {
      auto& text = texts_.emplace_back();
      for (int64_t at = 0; at < room; ++at) text.tokens.push_back(token(random));
      text.blocks.resize(blocks);
      std::iota(text.blocks.begin(), text.blocks.end(), next);
      next += static_cast<int32_t>(blocks);
    }
  }

  // Tokens [begin, begin + count) of texts [first, last) in one pass, and the likeliest that
  // follows each.
  void pass(size_t first, size_t last, int64_t begin, int64_t count) {
    std::vector<TokenRun> runs;
    for (size_t i = first; i < last; ++i)
      runs.push_back({.tokens = std::span(texts_[i].tokens).subspan(begin, count),
                      .position = begin,
                      .blocks = texts_[i].blocks,
                      .wanted = Wanted::best});
    model_.forward(runs);
  }
  void pass(int64_t begin, int64_t count) { pass(0, texts_.size(), begin, count); }

  size_t size() const { return texts_.size(); }

 private:
  struct Text {
    std::vector<int32_t> tokens, blocks;
  };
  LanguageModel& model_;
  std::vector<Text> texts_;
};

void measure_prefill(Bench& bench, LanguageModel& model, BenchCase& out) {
  Texts text(model, 1, prompt_tokens);
  const int warm_up = bench.request().warm_up;
  for (int round = 0; round < warm_up + bench.request().repeats_or(usual_repeats); ++round) {
    bench.check_stop();
    const Stopwatch watch;
    text.pass(0, prompt_tokens);
    if (round >= warm_up) out.seconds.push_back(watch.seconds() / prompt_tokens);
  }
}

// As the batches of `backlot enhance` are: every pass takes a token of each text.
void measure_decode(Bench& bench, LanguageModel& model, int64_t batch, BenchCase& out) {
  Texts texts(model, batch, context_tokens + decode_steps);
  constexpr size_t at_once = prompt_tokens / context_tokens;
  for (size_t first = 0; first < texts.size(); first += at_once) {
    bench.check_stop();
    texts.pass(first, std::min(first + at_once, texts.size()), 0, context_tokens);
  }
  const int warm_up = bench.request().warm_up;
  for (int round = 0; round < warm_up + bench.request().repeats_or(usual_repeats); ++round) {
    const Stopwatch watch;
    for (int64_t step = 0; step < decode_steps; ++step) {
      bench.check_stop();
      texts.pass(context_tokens + step, 1);
    }
    if (round >= warm_up)
      out.seconds.push_back(watch.seconds() / static_cast<double>(decode_steps * batch));
  }
}

void measure(Bench& bench, LanguageModel& model, const LanguageCase& each) {
  const BenchRequest& request = bench.request();
  BenchCase out{.suite = "language", .name = each.name, .measures = "a token"};
  out.parameters = {{"model", request.language_name},
                    {"device", request.device},
                    {"dtype", model.dtype()},
                    {"threads", request.threads},
                    {"weight_bytes", model.weight_bytes()},
                    {"context", each.batch > 0 ? context_tokens : 0},
                    {"batch", std::max<int64_t>(each.batch, 1)}};
  const double begin = trace_clock();
  try {
    if (each.batch == 0)
      measure_prefill(bench, model, out);
    else
      measure_decode(bench, model, each.batch, out);
    const double token = out.summary().median;
    out.figures["tokens_per_second"] = 1 / token;
    // Every pass reads all weights once (but of the embedding only its tokens' rows, where it is
    // not the head as well).
    if (each.batch > 0)
      out.figures["weight_bytes_per_second"] =
          static_cast<double>(model.weight_bytes()) / (token * static_cast<double>(each.batch));
  } catch (const ItemError& error) {  // out of memory is one
    out.error = error.problem();
    out.seconds.clear();
  }
  bench.recorder().span(each.name, "stage", begin, trace_clock());
  bench.add(std::move(out));
}

// Room for the keys and values of the case that needs the most, in whole blocks.
int64_t tokens_needed(const std::vector<LanguageCase>& cases) {
  constexpr int64_t most_block_tokens = 64;
  int64_t most = prompt_tokens;
  for (const auto& each : cases)
    most = std::max(most, each.batch * (context_tokens + decode_steps + most_block_tokens));
  return most;
}

}  // namespace

void run_language_suite(Bench& bench) {
  const BenchRequest& request = bench.request();
  bench.recorder().name_thread("compute");
  for (const auto& dtype : request.dtypes) {
    const auto cases = language_cases(request, dtype);
    if (cases.empty()) continue;
    LanguageProgress loading(bench.stop());
    const double begin = trace_clock();
    const auto model =
        bench.engine().load_language_model({.model = request.language_model,
                                            .precision = bench_precision(dtype),
                                            .packing = *weight_packing_named(request.quantize),
                                            .cache_tokens = tokens_needed(cases),
                                            .synthetic = request.synthetic},
                                           loading);
    bench.recorder().span("load", "stage", begin, trace_clock());
    if (model->context_length() < prompt_tokens)
      throw LoadError(request.language_name,
                      fmt::format("has a context of {} tokens, and the suite needs {}",
                                  model->context_length(), prompt_tokens),
                      "give another model");
    for (const auto& each : cases) measure(bench, *model, each);
  }
}

}  // namespace backlot
