#include "text/added_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "base/files.h"

namespace backlot {
namespace {

constexpr int64_t longest_context = 1 << 20;  // beyond lies transformers' mark for "no limit", 1e30

enum class Special { yes, no };

bool flag(const nlohmann::json& token, const char* key, bool otherwise, const fs::path& file) {
  const auto found = token.find(key);
  if (found == token.end()) return otherwise;
  if (!found->is_boolean()) throw_damaged(file, fmt::format("'{}' is not true or false", key));
  return found->get<bool>();
}

// A token written as an object with its flags.
AddedToken token_from(const nlohmann::json& object, Special special, const fs::path& file) {
  const auto content = object.find("content");
  if (content == object.end() || !content->is_string() || content->get<std::string>().empty())
    throw_damaged(file, "an added token has no content");
  const bool is_special = flag(object, "special", special == Special::yes, file);
  return {.content = content->get<std::string>(),
          .left_strip = flag(object, "lstrip", false, file),
          .right_strip = flag(object, "rstrip", false, file),
          .single_word = flag(object, "single_word", false, file),
          .normalized = flag(object, "normalized", !is_special, file),
          .special = is_special};
}

// A token that a role or a list names, as an object or by its content alone.
AddedToken named_token(const nlohmann::json& value, const std::string& role, const fs::path& file) {
  if (value.is_object()) return token_from(value, Special::yes, file);
  if (!value.is_string() || value.get<std::string>().empty())
    throw_damaged(file, fmt::format("{} is not a token", role));
  return {.content = value.get<std::string>()};
}

int64_t parse_id(const std::string& text, const fs::path& file) {
  int64_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0)
    throw_damaged(file, fmt::format("'{}' is not a token id", text));
  return id;
}

int64_t id_from(const nlohmann::json& value, const std::string& token, const fs::path& file) {
  if (!value.is_number_integer() || value.get<int64_t>() < 0)
    throw_damaged(file, fmt::format("the id of '{}' is not a whole number from 0", token));
  return value.get<int64_t>();
}

bool is_role(const std::string& key) {
  static constexpr std::string_view roles[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};
  return std::find(std::begin(roles), std::end(roles), key) != std::end(roles);
}

bool is_list_of_tokens(const std::string& key) {
  return key == "additional_special_tokens" || key == "extra_special_tokens";
}

// Gathers what the files of one folder say, in the order and with the precedence of transformers.
class Reader {
 public:
  explicit Reader(const fs::path& folder)
      : folder_(folder),
        config_file_(folder / "tokenizer_config.json"),
        config_(read_object(config_file_)) {}

  SpecialTokens read(const std::map<std::string, std::string>& defaults, Vocabulary& vocabulary) {
    for (const auto& [role, content] : defaults) special_.named[role] = {.content = content};
    take_roles(config_, config_file_);
    if (config_.contains("added_tokens_decoder")) {
      take_decoder();
    } else {
      take_roles(read_object(folder_ / "special_tokens_map.json"),
                 folder_ / "special_tokens_map.json");
      take_added_tokens();
      take_tokenizer_json();
    }
    take_max_length();
    register_all(vocabulary);
    return std::move(special_);
  }

 private:
  void take_roles(const nlohmann::json& object, const fs::path& file) {
    for (const auto& [key, value] : object.items()) {
      if (is_role(key)) {
        if (!value.is_null()) special_.named[key] = named_token(value, key, file);
      } else if (is_list_of_tokens(key) && value.is_array()) {
        for (const auto& entry : value) extra_.push_back(named_token(entry, key, file));
      }
    }
  }

  void take_decoder() {
    const auto& decoder = config_["added_tokens_decoder"];
    if (!decoder.is_object()) throw_damaged(config_file_, "added_tokens_decoder is not an object");
    for (const auto& [key, value] : decoder.items()) {
      if (!value.is_object())
        throw_damaged(config_file_, fmt::format("added_tokens_decoder.{} is not an object", key));
      list(parse_id(key, config_file_), token_from(value, Special::no, config_file_), config_file_);
    }
  }

  void take_added_tokens() {
    const fs::path file = folder_ / "added_tokens.json";
    const auto object = read_object(file);
    for (const auto& [content, value] : object.items()) {
      if (content.empty()) throw_damaged(file, "an added token is empty");
      bool has_role = false;
      for (const auto& [role, token] : special_.named) has_role |= token.content == content;
      for (const auto& token : extra_) has_role |= token.content == content;
      list(id_from(value, content, file),
           {.content = content, .normalized = !has_role, .special = has_role}, file);
    }
  }

  void take_tokenizer_json() {
    const fs::path file = folder_ / "tokenizer.json";
    const auto json = read_object(file);
    const auto tokens = json.find("added_tokens");
    if (tokens == json.end()) return;
    if (!tokens->is_array()) throw_damaged(file, "added_tokens is not an array");
    for (const auto& value : *tokens) {
      if (!value.is_object() || !value.contains("id"))
        throw_damaged(file, "an added token is not an object with an id");
      const AddedToken token = token_from(value, Special::no, file);
      list(id_from(value["id"], token.content, file), token, file);
    }
  }

  void list(int64_t id, AddedToken token, const fs::path& file) {
    token.id = id;
    const auto [at, added] = listed_.emplace(id, token);
    if (!added && at->second.content != token.content)
      throw_damaged(file, fmt::format("'{}' and '{}' have the same id {}", at->second.content,
                                      token.content, id));
    at->second = std::move(token);
    listed_in_ = file;
  }

  void take_max_length() {
    const auto found = config_.find("model_max_length");
    if (found == config_.end() || found->is_null()) return;
    if (!found->is_number()) throw_damaged(config_file_, "model_max_length is not a number");
    const double length = found->get<double>();
    if (length > longest_context) return;
    if (length < 1 || length != static_cast<double>(static_cast<int64_t>(length)))
      throw_damaged(config_file_, fmt::format("model_max_length is {}", found->dump()));
    special_.max_length = static_cast<int64_t>(length);
  }

  void register_all(Vocabulary& vocabulary) {
    std::map<std::string, AddedToken> by_content;
    for (auto& [id, token] : listed_) {
      const auto [at, added] =
          vocabulary.emplace(token.content, static_cast<int64_t>(vocabulary.size()));
      if (at->second != id)
        throw_damaged(listed_in_, fmt::format("'{}' has the id {}, expected {}", token.content, id,
                                              at->second));
      by_content[token.content] = token;
      special_.tokens.push_back(token);
    }
    const auto settle = [&](AddedToken& token, const std::string& role) {
      if (const auto known = by_content.find(token.content); known != by_content.end()) {
        token = known->second;
        return;
      }
      const auto found = vocabulary.find(token.content);
      if (found == vocabulary.end())
        throw_damaged(config_file_,
                      fmt::format("{} is '{}', which the vocabulary lacks", role, token.content));
      token.id = found->second;
      by_content[token.content] = token;
      special_.tokens.push_back(token);
    };
    for (auto& [role, token] : special_.named) settle(token, role);
    for (auto& token : extra_) settle(token, "a special token");
    // A token with a role is special, whatever the list of added tokens says.
    std::set<int64_t> with_role;
    for (const auto& [role, token] : special_.named) with_role.insert(token.id);
    for (const auto& token : extra_) with_role.insert(token.id);
    for (auto& token : special_.tokens) token.special |= with_role.contains(token.id);
  }

  fs::path folder_, config_file_;
  nlohmann::json config_;
  SpecialTokens special_;
  std::vector<AddedToken> extra_;         // special tokens without a role
  std::map<int64_t, AddedToken> listed_;  // tokens that a file gives an id
  fs::path listed_in_;
};

}  // namespace

SpecialTokens read_special_tokens(const fs::path& folder,
                                  const std::map<std::string, std::string>& defaults,
                                  Vocabulary& vocabulary) {
  return Reader(folder).read(defaults, vocabulary);
}

}  // namespace backlot
