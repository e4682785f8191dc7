#include "language/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"

namespace backlot {
namespace {

// Nobody hears how far loading is; it takes a second.
class Unheard final : public Progress {
 public:
  explicit Unheard(const std::function<bool()>& stop) : stop_(stop) {}
  void stage(std::string_view) override {}
  void step(int64_t, int64_t) override {}
  bool stop_requested() const override { return stop_ && stop_(); }

 private:
  const std::function<bool()>& stop_;
};

std::vector<std::string> texts(const GgufFile& file, std::string_view key) {
  if (!file.has(key)) return {};
  const auto views = file.texts(key);
  return {views.begin(), views.end()};
}

TokenizerData tokenizer_data(const GgufFile& file) {
  const auto text = [&](std::string_view key) {
    return std::string(file.find_text(key).value_or(""));
  };
  const auto id = [&](std::string_view name) {
    return file.find_integer(fmt::format("tokenizer.ggml.{}_token_id", name));
  };
  TokenizerData data;
  data.file = file.path().string();
  data.model = text("tokenizer.ggml.model");
  data.pre = text("tokenizer.ggml.pre");
  data.tokens = texts(file, "tokenizer.ggml.tokens");
  if (file.has("tokenizer.ggml.token_type"))
    for (const int64_t type : file.integers("tokenizer.ggml.token_type"))
      data.token_types.push_back(
          static_cast<int32_t>(std::clamp<int64_t>(type, INT32_MIN, INT32_MAX)));
  data.merges = texts(file, "tokenizer.ggml.merges");
  data.bos = id("bos");
  data.eos = id("eos");
  data.eot = id("eot");
  data.eom = id("eom");
  data.unknown = id("unknown");
  data.padding = id("padding");
  data.add_bos = file.find_flag("tokenizer.ggml.add_bos_token").value_or(false);
  data.add_eos = file.find_flag("tokenizer.ggml.add_eos_token").value_or(false);
  data.chat_template = text("tokenizer.chat_template");
  return data;
}

}  // namespace

LanguageTokenizer open_tokenizer(const LanguageFolder& model) {
  if (const GgufFile* file = model.gguf())
    return LanguageTokenizer::from_gguf(tokenizer_data(*file));
  return LanguageTokenizer::load(model.path());
}

LanguageSession::LanguageSession(const LanguageSessionOptions& options,
                                 std::function<Engine&()> engine)
    : options_(options),
      engine_(std::move(engine)),
      folder_(LanguageFolder::open(options.model)),
      tokenizer_(open_tokenizer(folder_)),
      pieces_(tokenizer_) {
  if (tokenizer_.vocabulary_size() > folder_.config().vocab_size)
    throw LoadError(options.model.string(),
                    fmt::format("its tokenizer has {} tokens, its network {}",
                                tokenizer_.vocabulary_size(), folder_.config().vocab_size),
                    "tokenizer and weights belong to different models; download both again");
}

std::vector<int32_t> LanguageSession::encode_chat(const Json& messages) const {
  // Some templates name today's date unless they are told one; a text must not depend on the day.
  static const Json variables = {{"date_string", "26 Jul 2024"}};
  return tokenizer_.encode(tokenizer_.render_chat(messages, true, variables));
}

void LanguageSession::make_room(const std::vector<GenerationRequest>& requests) {
  const auto& config = folder_.config();
  int64_t longest = 1;
  for (const auto& request : requests)
    longest = std::max(longest, std::min(static_cast<int64_t>(request.prompt.size()) +
                                             std::max<int64_t>(request.max_tokens, 1),
                                         config.max_position_embeddings));
  const auto together = std::min(static_cast<int64_t>(requests.size()), options_.max_sequences);
  // Sequences that wait for room begin with those that are done: nothing is lost but time.
  constexpr double share = 0.4;  // of free memory; what is left is for weights and activations
  Engine& engine = engine_();
  const auto bytes_each = static_cast<double>(config.num_hidden_layers * 2 *
                                              config.num_key_value_heads * config.head_dim * 4);
  const auto fits =
      static_cast<int64_t>(share * static_cast<double>(engine.device().free_bytes) / bytes_each);
  constexpr int64_t block_rounding = 64;  // a sequence's last block is seldom full
  const int64_t wished = together * (longest + block_rounding);
  const int64_t tokens = std::max(longest + block_rounding, std::min(wished, fits));
  if (model_ && tokens <= cache_tokens_) return;
  unload();
  Unheard progress(options_.stop_requested);
  model_ = engine.load_language_model({.model = options_.model,
                                       .precision = options_.precision,
                                       .packing = options_.packing,
                                       .cache_tokens = tokens},
                                      progress);
  cache_tokens_ = tokens;
  generator_ =
      std::make_unique<Generator>(*model_, pieces_,
                                  GeneratorOptions{.max_sequences = options_.max_sequences,
                                                   .stop_requested = options_.stop_requested});
}

std::vector<GenerationOutcome> LanguageSession::run(
    std::vector<GenerationRequest> requests,
    const std::function<void(size_t, const GenerationOutcome&)>& ended) {
  if (requests.empty()) return {};
  make_room(requests);
  std::map<int64_t, size_t> places;
  std::vector<GenerationOutcome> outcomes(requests.size());
  for (size_t i = 0; i < requests.size(); ++i)
    places[generator_->submit(std::move(requests[i]))] = i;
  try {
    while (!generator_->idle()) {
      for (auto& outcome : generator_->step()) {
        const size_t place = places.at(outcome.id);
        outcomes[place] = std::move(outcome);
        if (ended) ended(place, outcomes[place]);
      }
    }
  } catch (...) {
    unload();  // what was left undone would come up again in the next run
    throw;
  }
  return outcomes;
}

void LanguageSession::unload() {
  generator_.reset();
  model_.reset();
  cache_tokens_ = 0;
}

}  // namespace backlot
