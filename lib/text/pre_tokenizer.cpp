#include "text/pre_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "base/error.h"
#include "text/unicode.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

constexpr char mend[] = "use a model whose tokenizer is of GPT-2's, Qwen2's or Llama 3's kind";
constexpr size_t longest_pattern = 4096;

// As they stand in the tokenizers of transformers and, for the last, in llama.cpp.
constexpr char gpt2[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char qwen2[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char llama3[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
                          R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char each_digit[] = R"(\p{N})";
constexpr char symbols[] = R"([\p{P}\$\+<=>\^~\|]+)";

std::string as_it_is(std::string_view text) { return std::string(text); }

std::string in_form_c(std::string_view text) { return encode_utf8(nfc(decode_utf8(text))); }

std::vector<Regex> compiled(std::initializer_list<const char*> patterns) {
  std::vector<Regex> result;
  for (const char* pattern : patterns) result.emplace_back(from_oniguruma(pattern));
  return result;
}

// Whether a boolean setting is there and true.
bool is_on(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

std::string type_of(const nlohmann::json& step) {
  const auto type = step.is_object() ? step.find("type") : step.end();
  const bool has_type = step.is_object() && type != step.end() && type->is_string();
  return has_type ? type->get<std::string>() : "";
}

[[noreturn]] void refuse(const fs::path& file, const std::string& what) {
  throw LoadError(file.string(), what, mend);
}

std::string shown(const nlohmann::json& step) {
  return step.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 120);
}

void add_split(const nlohmann::json& step, const fs::path& file, std::vector<Regex>& patterns) {
  const auto pattern = step.find("pattern");
  const bool isolated = step.value("behavior", nlohmann::json()) == "Isolated";
  if (!isolated || is_on(step, "invert") || pattern == step.end() || !pattern->is_object())
    refuse(file, fmt::format("its pre_tokenizer {} is not supported", shown(step)));
  const bool is_regex = pattern->contains("Regex");
  const auto text = pattern->find(is_regex ? "Regex" : "String");
  if (text == pattern->end() || !text->is_string() || text->get<std::string>().empty())
    throw_damaged(file, "its pre_tokenizer splits by no pattern");
  const auto source = text->get<std::string>();
  if (source.size() > longest_pattern) throw_damaged(file, "its pre_tokenizer's pattern is huge");
  try {
    patterns.emplace_back(is_regex ? from_oniguruma(source) : as_literal_pattern(source));
  } catch (const std::invalid_argument& error) {
    refuse(file, fmt::format("its pre_tokenizer's pattern '{}' can't be used: {}",
                             source.substr(0, 120), error.what()));
  }
}

// Adds the patterns of one pre_tokenizer of tokenizer.json.
void add_patterns(const nlohmann::json& step, const fs::path& file, std::vector<Regex>& patterns) {
  constexpr size_t most_patterns = 32;
  if (patterns.size() == most_patterns) throw_damaged(file, "its pre_tokenizer has too many steps");
  const std::string type = type_of(step);
  if (type.empty()) throw_damaged(file, "its pre_tokenizer has no type");
  if (type == "Sequence") {
    const auto steps = step.find("pretokenizers");
    if (steps == step.end() || !steps->is_array())
      throw_damaged(file, "its pre_tokenizer is an empty sequence");
    for (const auto& inner : *steps) {
      if (type_of(inner) == "Sequence")
        refuse(file, "its pre_tokenizer has a sequence inside a sequence");
      add_patterns(inner, file, patterns);
    }
  } else if (type == "Split") {
    add_split(step, file, patterns);
  } else if (type == "Digits" && is_on(step, "individual_digits")) {
    patterns.emplace_back(each_digit);
  } else if (type == "ByteLevel" && !is_on(step, "add_prefix_space")) {
    const bool plain = step.contains("use_regex") && !is_on(step, "use_regex");
    if (!plain) patterns.emplace_back(from_oniguruma(gpt2));
  } else {
    refuse(file, fmt::format("its pre_tokenizer {} is not supported", shown(step)));
  }
}

AddedTokenEncoder::Normalise normaliser(const nlohmann::json& json, const fs::path& file) {
  if (json.is_null()) return as_it_is;
  const std::string type = type_of(json);
  if (type == "NFC") return in_form_c;
  const auto steps = json.is_object() ? json.find("normalizers") : json.end();
  if (type == "Sequence" && steps != json.end() && steps->is_array()) {
    if (steps->empty()) return as_it_is;
    if (steps->size() == 1 && type_of((*steps)[0]) == "NFC") return in_form_c;
  }
  refuse(file, fmt::format("its normalizer {} is not supported", shown(json)));
}

PreTokenizer of_tokenizer_json(const fs::path& folder) {
  const fs::path file = folder / "tokenizer.json";
  const auto json = read_object(file);
  if (json.empty()) return {as_it_is, compiled({gpt2})};
  PreTokenizer result{normaliser(json.value("normalizer", nlohmann::json()), file), {}};
  const auto step = json.find("pre_tokenizer");
  if (step == json.end()) throw_damaged(file, "has no pre_tokenizer");
  add_patterns(*step, file, result.patterns);
  return result;
}

}  // namespace

std::string as_literal_pattern(const std::string& text) {
  std::string pattern;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80)
      pattern += fmt::format("\\x{{{:x}}}", static_cast<int>(c));
    else
      pattern += c;
  }
  return pattern;
}

PreTokenizer PreTokenizer::of_folder(const fs::path& folder) {
  const std::string name = tokenizer_class(folder);
  if (name == "Qwen2Tokenizer") return {in_form_c, compiled({qwen2})};
  static constexpr std::string_view by_file[] = {"", "GPT2Tokenizer", "PreTrainedTokenizer",
                                                 "TokenizersBackend", "LlamaTokenizer"};
  if (std::find(std::begin(by_file), std::end(by_file), name) != std::end(by_file))
    return of_tokenizer_json(folder);
  throw LoadError(folder.string(),
                  fmt::format("its tokenizer is a {}, not a GPT2Tokenizer, Qwen2Tokenizer or "
                              "PreTrainedTokenizerFast",
                              name),
                  "give the folder of a supported language model");
}

PreTokenizer PreTokenizer::of_gguf(const std::string& pre, const std::string& file) {
  const auto is_one_of = [&](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), pre) != names.end();
  };
  if (is_one_of({"gpt-2", "gpt2", "phi-2"})) return {as_it_is, compiled({gpt2})};
  if (is_one_of({"smollm", "starcoder"})) return {as_it_is, compiled({each_digit, gpt2})};
  if (is_one_of({"qwen2", "deepseek-r1-qwen", "megrez"})) return {in_form_c, compiled({qwen2})};
  if (is_one_of({"llama-bpe", "llama3", "llama-v3", "falcon3"}))
    return {as_it_is, compiled({llama3})};
  if (is_one_of({"", "default"}))
    return {as_it_is, compiled({symbols, gpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"})};
  throw LoadError(file, fmt::format("its tokenizer.ggml.pre '{}' is not supported", pre),
                  "use a model with one of: qwen2, llama-bpe, gpt-2, smollm, default");
}

}  // namespace backlot
