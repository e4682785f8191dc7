#include "text/tokenize_folder.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "text/byte_level_tokenizer.h"
#include "text/clip_tokenizer.h"
#include "text/tokenizer_files.h"
#include "text/unigram_files.h"
#include "text/unigram_tokenizer.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

// The class that tokenizer_config.json names or, without one, that the merges tell.
std::string class_of(const fs::path& dir) {
  std::error_code ignored;
  if (!fs::is_directory(dir, ignored))
    throw LoadError(dir.string(), "not a folder",
                    "give the folder that holds the tokenizer's files");
  const std::string named = tokenizer_class(dir);
  if (named == "T5Tokenizer") return named;
  static constexpr std::string_view of_any_model[] = {"", "PreTrainedTokenizer",
                                                      "TokenizersBackend"};
  const bool may_be_unigram =
      std::find(std::begin(of_any_model), std::end(of_any_model), named) != std::end(of_any_model);
  if (may_be_unigram && is_unigram_folder(dir)) return "T5Tokenizer";
  if (!named.empty()) return named;
  const auto files = read_bpe_files(dir);
  const bool ends_words = std::any_of(files.merges.begin(), files.merges.end(),
                                      [](const Merge& m) { return m.right.ends_with("</w>"); });
  return ends_words ? "CLIPTokenizer" : "GPT2Tokenizer";
}

template <typename Tokenizer>
std::vector<std::vector<int64_t>> encode_all(const Tokenizer& tokenizer,
                                             const std::vector<std::string>& texts) {
  std::vector<std::vector<int64_t>> ids;
  for (const auto& text : texts) ids.push_back(tokenizer.encode(text));
  return ids;
}

}  // namespace

std::vector<std::vector<int64_t>> tokenize_with_folder(const fs::path& dir,
                                                       const std::vector<std::string>& texts) {
  const std::string name = class_of(dir);
  if (name == "CLIPTokenizer") return encode_all(ClipTokenizer::load(dir), texts);
  if (name == "T5Tokenizer") return encode_all(UnigramTokenizer::load(dir), texts);
  static constexpr std::string_view byte_level[] = {"GPT2Tokenizer", "Qwen2Tokenizer",
                                                    "PreTrainedTokenizer", "TokenizersBackend",
                                                    "LlamaTokenizer"};
  if (std::find(std::begin(byte_level), std::end(byte_level), name) != std::end(byte_level))
    return encode_all(ByteLevelTokenizer::load(dir), texts);
  throw LoadError(dir.string(), fmt::format("its tokenizer is a {}, which is not supported", name),
                  "give the folder of a CLIPTokenizer, GPT2Tokenizer, Qwen2Tokenizer, T5Tokenizer "
                  "or PreTrainedTokenizerFast");
}

}  // namespace backlot
