// A language model for a command: its tokenizer at once, its weights when the first text is wanted
// and the sizes of all are known.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"
#include "language/generator.h"
#include "language/language_token_pieces.h"
#include "text/language_tokenizer.h"
#include "weights/language_folder.h"

namespace backlot {

// A transformers folder's tokenizer or the one in a GGUF's metadata. Throws LoadError.
LanguageTokenizer open_tokenizer(const LanguageFolder& model);

struct LanguageSessionOptions {
  std::filesystem::path model;  // a transformers folder, a .gguf file or a folder that holds one
  Precision precision = Precision::automatic;
  WeightPacking packing = WeightPacking::automatic;
  int64_t max_sequences = 64;  // together, at most
  std::function<bool()> stop_requested = {};
};

class LanguageSession {
 public:
  // Reads configs and the tokenizer, no weights. `engine` is called when weights are wanted.
  // Throws LoadError.
  LanguageSession(const LanguageSessionOptions& options, std::function<Engine&()> engine);

  const LanguageFolder& folder() const { return folder_; }
  const LanguageTokenizer& tokenizer() const { return tokenizer_; }
  int64_t context_length() const { return folder_.config().max_position_embeddings; }

  // The chat as the model's template has it. Throws as LanguageTokenizer::render_chat().
  std::vector<int32_t> encode_chat(const Json& messages) const;

  // All of the requests; outcomes in their order, each also given to `ended` as soon as it is
  // known. Loads the model, with room for as many of them together as memory allows. Throws
  // Interrupted, LoadError, OutOfMemory: not even one fits.
  std::vector<GenerationOutcome> run(
      std::vector<GenerationRequest> requests,
      const std::function<void(size_t request, const GenerationOutcome&)>& ended = {});

  // What the model was loaded as, null before.
  const LanguageModel* model() const { return model_.get(); }
  // Of all runs; null before the first.
  const GenerationStatistics* statistics() const {
    return generator_ ? &generator_->statistics() : nullptr;
  }

  // Gives the model's memory back; the next run loads it again.
  void unload();

 private:
  void make_room(const std::vector<GenerationRequest>& requests);

  LanguageSessionOptions options_;
  std::function<Engine&()> engine_;
  LanguageFolder folder_;
  LanguageTokenizer tokenizer_;
  LanguageTokenPieces pieces_;
  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<Generator> generator_;
  int64_t cache_tokens_ = 0;
};

}  // namespace backlot
