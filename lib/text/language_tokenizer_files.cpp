#include "text/language_tokenizer_files.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/files.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t max_template_bytes = uint64_t{1} << 20;  // the longest known have 30 KB

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored);
}

// One token id or a list of them; ids that padded models have beyond the tokenizer end nothing.
std::vector<int64_t> ids_from(const nlohmann::json& value, const char* key, const fs::path& file) {
  const auto list = value.is_array() ? value : nlohmann::json::array({value});
  std::vector<int64_t> ids;
  for (const auto& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 ||
        id.get<int64_t>() > std::numeric_limits<int32_t>::max())
      throw_damaged(file, fmt::format("{} is not a token id or a list of them", key));
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

std::vector<int64_t> ends_of(const fs::path& folder) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    const fs::path file = folder / name;
    const auto config = read_object(file);
    const auto found = config.find("eos_token_id");
    if (found != config.end() && !found->is_null()) return ids_from(*found, "eos_token_id", file);
  }
  return {};
}

std::string template_from(const nlohmann::json& value, const fs::path& file) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) throw_damaged(file, "chat_template is neither a text nor a list");
  for (const auto& entry : value) {
    if (!entry.is_object() || !entry.contains("name") || !entry.contains("template") ||
        !entry["template"].is_string())
      throw_damaged(file, "chat_template has an entry without name or template");
    if (entry["name"] == "default") return entry["template"].get<std::string>();
  }
  return "";
}

std::string chat_template_of(const fs::path& folder) {
  const fs::path source = folder / "chat_template.jinja";
  if (is_there(source)) {
    try {
      return read_file(source, max_template_bytes);
    } catch (const EnvironmentError& error) {
      throw LoadError(error.where(), error.problem(), error.mend());
    }
  }
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    const auto config = read_object(folder / name);
    const auto found = config.find("chat_template");
    if (found != config.end() && !found->is_null()) return template_from(*found, folder / name);
  }
  return "";
}

// What the `single` of a TemplateProcessing puts around a text.
class PostProcessor {
 public:
  PostProcessor(const fs::path& file, int64_t vocabulary_size)
      : file_(file), vocabulary_size_(vocabulary_size) {}

  void take(const nlohmann::json& step, TokenizerSettings& settings, int depth = 0) const {
    const auto type = step.is_object() ? step.value("type", nlohmann::json()) : nlohmann::json();
    if (type == "Sequence" && depth == 0) {
      for (const auto& inner : list(step, "processors")) take(inner, settings, depth + 1);
    } else if (type == "TemplateProcessing") {
      take_template(step, settings);
    } else if (type != "ByteLevel") {  // which only trims offsets
      throw LoadError(file_.string(),
                      fmt::format("its post_processor {} is not supported",
                                  type.is_string() ? type.get<std::string>() : "without a type"),
                      "use a model whose tokenizer is of GPT-2's, Qwen2's or Llama 3's kind");
    }
  }

 private:
  void take_template(const nlohmann::json& step, TokenizerSettings& settings) const {
    bool text_seen = false;
    for (const auto& part : list(step, "single")) {
      if (part.is_object() && part.contains("Sequence")) {
        text_seen = true;
        continue;
      }
      const auto token = part.is_object() ? part.find("SpecialToken") : part.end();
      if (!part.is_object() || token == part.end() || !token->is_object() ||
          !token->contains("id") || !(*token)["id"].is_string())
        throw_damaged(file_, "its post_processor has a part that is neither text nor token");
      for (const int64_t id : ids_of((*token)["id"].get<std::string>(), step))
        (text_seen ? settings.after : settings.before).push_back(id);
    }
  }

  std::vector<int64_t> ids_of(const std::string& token, const nlohmann::json& step) const {
    const auto tokens = step.find("special_tokens");
    if (tokens == step.end() || !tokens->is_object() || !tokens->contains(token) ||
        !(*tokens)[token].is_object() || !(*tokens)[token].contains("ids"))
      throw_damaged(file_, fmt::format("its post_processor lacks the ids of '{}'", token));
    const auto ids = ids_from((*tokens)[token]["ids"], "post_processor", file_);
    for (const int64_t id : ids)
      if (id >= vocabulary_size_)
        throw_damaged(file_, fmt::format("its post_processor has the id {}, outside 0 to {}", id,
                                         vocabulary_size_ - 1));
    return ids;
  }

  const nlohmann::json& list(const nlohmann::json& step, const char* key) const {
    const auto found = step.find(key);
    constexpr size_t most = 64;
    if (found == step.end() || !found->is_array() || found->size() > most)
      throw_damaged(file_, fmt::format("its post_processor has no list '{}'", key));
    return *found;
  }

  const fs::path& file_;
  int64_t vocabulary_size_;
};

}  // namespace

TokenizerSettings settings_of_folder(const fs::path& folder, const ByteLevelTokenizer& tokenizer) {
  TokenizerSettings settings;
  const fs::path json_file = folder / "tokenizer.json";
  const auto json = read_object(json_file);
  if (const auto step = json.find("post_processor"); step != json.end() && !step->is_null())
    PostProcessor(json_file, tokenizer.vocabulary_size()).take(*step, settings);
  const auto config = read_object(folder / "tokenizer_config.json");
  const auto& named = tokenizer.special_tokens().named;
  const auto add = [&](const char* key, const char* role, std::vector<int64_t>& to) {
    const auto wanted = config.find(key);
    const auto token = named.find(role);
    if (wanted != config.end() && *wanted == true && to.empty() && token != named.end())
      to.push_back(token->second.id);
  };
  add("add_bos_token", "bos_token", settings.before);
  add("add_eos_token", "eos_token", settings.after);
  settings.ends = ends_of(folder);
  settings.chat_template = chat_template_of(folder);
  return settings;
}

}  // namespace backlot
