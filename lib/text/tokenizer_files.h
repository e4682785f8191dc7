// The files of a tokenizer folder, read strictly: what is damaged or of another kind is a LoadError
// that names the file (and the line of merges.txt).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace backlot {

// Token to id. Ids are 0 … size-1, each once.
using Vocabulary = std::unordered_map<std::string, int64_t>;

struct Merge {
  std::string left, right;
  size_t line = 0;  // in merges.txt, from 1; 0 in tokenizer.json
};

// What a byte-pair encoding is made of.
struct BpeFiles {
  Vocabulary vocabulary;  // empty if the folder has merges.txt but no vocab.json
  std::vector<Merge> merges;
  std::filesystem::path merges_file;  // merges.txt or tokenizer.json, for messages
  bool ignore_merges = false;         // words that are tokens are not built by merging
};

// "left right" with exactly one space between two non-empty parts, or nothing.
std::optional<Merge> parse_merge(std::string_view text);

// Reads tokenizer.json if there is one (transformers prefers it), else vocab.json and merges.txt.
BpeFiles read_bpe_files(const std::filesystem::path& folder);

// The bytes of one file, of a size that tokenizers have. Throws LoadError.
std::string read_tokenizer_file(const std::filesystem::path& file);

// One JSON object, or an empty one if the file is absent. Keys are sorted: unlike Json, it stays
// fast with the 150,000 keys of a vocabulary.
nlohmann::json read_object(const std::filesystem::path& file);

// The class named in tokenizer_config.json without the suffix "Fast", "" if there is none.
std::string tokenizer_class(const std::filesystem::path& folder);

// Throws LoadError with the mend that fits a damaged tokenizer file.
[[noreturn]] void throw_damaged(const std::filesystem::path& file, std::string what);

}  // namespace backlot
