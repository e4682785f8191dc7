#include "text/tokenizer_files.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace backlot {
namespace {

constexpr uint64_t max_file_bytes = uint64_t{64} << 20;  // the largest known are near 20 MB

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored);
}

Vocabulary vocabulary_from(const nlohmann::json& object, const fs::path& file) {
  if (!object.is_object()) throw_damaged(file, "the vocabulary is not an object of token: id");
  if (object.empty()) throw_damaged(file, "the vocabulary is empty");
  Vocabulary vocabulary;
  vocabulary.reserve(object.size());
  std::vector<bool> taken(object.size());
  for (const auto& [token, id] : object.items()) {
    if (!id.is_number_integer())
      throw_damaged(file, fmt::format("the id of '{}' is not an integer", token));
    // Unsigned numbers above the range of int64_t come back negative and are refused as well.
    const auto value = id.get<int64_t>();
    if (value < 0 || static_cast<uint64_t>(value) >= object.size())
      throw_damaged(file, fmt::format("the id of '{}' is {}, outside 0 to {}", token, id.dump(),
                                      object.size() - 1));
    if (taken[static_cast<size_t>(value)])
      throw_damaged(file, fmt::format("two tokens have the id {}, one is '{}'", value, token));
    taken[static_cast<size_t>(value)] = true;
    vocabulary.emplace(token, value);
  }
  return vocabulary;
}

std::vector<Merge> read_merges(const fs::path& file) {
  const std::string text = read_tokenizer_file(file);
  std::vector<Merge> merges;
  std::string_view rest = text;
  for (size_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("#version")) continue;
    const fs::path where = fmt::format("{}:{}", file.string(), number);
    if (!is_utf8(line)) throw_damaged(where, "not UTF-8");
    auto merge = parse_merge(line);
    if (!merge)
      throw_damaged(where, fmt::format("'{}' is not a pair of tokens", line.substr(0, 60)));
    merge->line = number;
    merges.push_back(std::move(*merge));
  }
  return merges;
}

std::vector<Merge> merges_from(const nlohmann::json& list, const fs::path& file) {
  if (!list.is_array()) throw_damaged(file, "model.merges is not an array");
  std::vector<Merge> merges;
  for (const auto& entry : list) {
    std::optional<Merge> merge;
    const bool is_pair =
        entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string();
    if (is_pair)
      merge = Merge{entry[0].get<std::string>(), entry[1].get<std::string>()};
    else if (entry.is_string())
      merge = parse_merge(entry.get<std::string>());
    if (!merge)
      throw_damaged(file, fmt::format("model.merges[{}] is not a pair of tokens", merges.size()));
    merges.push_back(std::move(*merge));
  }
  return merges;
}

}  // namespace

std::string read_tokenizer_file(const fs::path& file) {
  try {
    return read_file(file, max_file_bytes);
  } catch (const EnvironmentError& error) {
    throw LoadError(error.where(), error.problem(), error.mend());
  }
}

std::optional<Merge> parse_merge(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == text.size())
    return std::nullopt;
  if (text.find(' ', space + 1) != std::string_view::npos) return std::nullopt;
  return Merge{std::string(text.substr(0, space)), std::string(text.substr(space + 1))};
}

void throw_damaged(const fs::path& file, std::string what) {
  throw LoadError(file.string(), std::move(what), "fetch the tokenizer's files again");
}

nlohmann::json read_object(const fs::path& file) {
  if (!is_there(file)) return nlohmann::json::object();
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(read_tokenizer_file(file));
  } catch (const nlohmann::json::exception& error) {
    throw_damaged(file, fmt::format("not valid JSON: {}", error.what()));
  }
  if (!object.is_object()) throw_damaged(file, "not a JSON object");
  return object;
}

BpeFiles read_bpe_files(const fs::path& folder) {
  const fs::path json_file = folder / "tokenizer.json", merges_file = folder / "merges.txt";
  if (is_there(json_file)) {
    const auto json = read_object(json_file);
    const auto model = json.find("model");
    if (model == json.end() || !model->is_object()) throw_damaged(json_file, "has no model");
    if (model->value("type", nlohmann::json("BPE")) != "BPE")
      throw LoadError(json_file.string(), "its model is not a byte-pair encoding",
                      "give the folder of a CLIP, GPT-2 or Qwen2 tokenizer");
    if (!model->contains("vocab") || !model->contains("merges"))
      throw_damaged(json_file, "its model lacks vocab or merges");
    const auto ignores = model->find("ignore_merges");
    if (ignores != model->end() && !ignores->is_boolean() && !ignores->is_null())
      throw_damaged(json_file, "model.ignore_merges is not true or false");
    return {vocabulary_from((*model)["vocab"], json_file),
            merges_from((*model)["merges"], json_file), json_file,
            ignores != model->end() && *ignores == true};
  }
  if (!is_there(merges_file))
    throw LoadError(folder.string(), "has neither merges.txt nor tokenizer.json",
                    "give the folder of a tokenizer");
  BpeFiles files{.merges = read_merges(merges_file), .merges_file = merges_file};
  const fs::path vocabulary_file = folder / "vocab.json";
  if (is_there(vocabulary_file))
    files.vocabulary = vocabulary_from(read_object(vocabulary_file), vocabulary_file);
  return files;
}

std::string tokenizer_class(const fs::path& folder) {
  const fs::path file = folder / "tokenizer_config.json";
  const auto config = read_object(file);
  const auto found = config.find("tokenizer_class");
  if (found == config.end() || found->is_null()) return "";
  if (!found->is_string()) throw_damaged(file, "tokenizer_class is not a string");
  std::string name = found->get<std::string>();
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

}  // namespace backlot
