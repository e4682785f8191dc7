#include "text/language_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <variant>

#include "base/error.h"
#include "base/utf8.h"
#include "text/chat_template.h"
#include "text/language_tokenizer_files.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

// Tokens that end a turn or a text in the vocabularies of our models and their kin.
constexpr const char* ending_marks[] = {"<|im_end|>",     "<|eot_id|>",    "<|eom_id|>",
                                        "<|end|>",        "<end_of_turn>", "<|endoftext|>",
                                        "<|end_of_text|>"};

std::optional<int64_t> registered(const ByteLevelTokenizer& tokenizer, const std::string& mark) {
  const auto& tokens = tokenizer.special_tokens().tokens;
  const auto found = std::find_if(tokens.begin(), tokens.end(),
                                  [&](const AddedToken& token) { return token.content == mark; });
  if (found == tokens.end()) return std::nullopt;
  return found->id;
}

std::vector<int32_t> narrowed(const std::vector<int64_t>& ids) { return {ids.begin(), ids.end()}; }

std::optional<int32_t> narrowed(std::optional<int64_t> id) {
  if (!id) return std::nullopt;
  return static_cast<int32_t>(*id);
}

std::string fallback_template(const ByteLevelTokenizer& tokenizer) {
  if (registered(tokenizer, "<|im_start|>")) return chatml_template();
  if (registered(tokenizer, "<|start_header_id|>")) return llama3_template();
  return "";
}

}  // namespace

struct LanguageTokenizer::State {
  State(ByteLevelTokenizer byte_level, const TokenizerSettings& settings, const std::string& source)
      : tokenizer(std::move(byte_level)), where(source) {
    const auto& named = tokenizer.special_tokens().named;
    const auto role = [&](const char* name) -> std::optional<int64_t> {
      const auto found = named.find(name);
      if (found == named.end()) return std::nullopt;
      return found->second.id;
    };
    bos = role("bos_token");
    eos = role("eos_token");
    padding = role("pad_token");
    before = settings.before;
    after = settings.after;
    take_ends(settings.ends);
    chat_template =
        settings.chat_template.empty() ? fallback_template(tokenizer) : settings.chat_template;
    take_template();
  }

  void take_ends(const std::vector<int64_t>& named) {
    std::set<int64_t> ids(named.begin(), named.end());
    if (eos) ids.insert(*eos);
    for (const char* mark : ending_marks)
      if (const auto id = registered(tokenizer, mark)) ids.insert(*id);
    ends.assign(ids.begin(), ids.end());
  }

  // Only who renders chats needs a template that can be used.
  void take_template() {
    if (chat_template.empty()) {
      parsed = LoadError(where, "the model has no chat template",
                         "use an instruction-tuned model, or add its chat_template.jinja");
      return;
    }
    try {
      parsed = ChatTemplate(chat_template, where + " (chat template)");
    } catch (const LoadError& error) {
      parsed = error;
    }
  }

  std::string content_of(std::optional<int64_t> id) const {
    return id ? std::string(tokenizer.bytes_of(*id)) : "";
  }

  ByteLevelTokenizer tokenizer;
  std::string where;
  std::optional<int64_t> bos, eos, padding;
  std::vector<int64_t> before, after;  // what encode_completion puts around a text
  std::vector<int32_t> ends;
  std::string chat_template;
  std::variant<std::monostate, ChatTemplate, LoadError> parsed;
};

LanguageTokenizer::LanguageTokenizer(std::shared_ptr<const State> state)
    : state_(std::move(state)) {}

LanguageTokenizer LanguageTokenizer::load(const fs::path& folder) {
  auto tokenizer = ByteLevelTokenizer::load(folder);
  const auto settings = settings_of_folder(folder, tokenizer);
  return LanguageTokenizer(
      std::make_shared<State>(std::move(tokenizer), settings, folder.string()));
}

LanguageTokenizer LanguageTokenizer::from_gguf(TokenizerData data) {
  auto tokenizer = byte_level_tokenizer_of(data);
  const auto settings = settings_of_gguf(data);
  return LanguageTokenizer(std::make_shared<State>(std::move(tokenizer), settings, data.file));
}

std::vector<int32_t> LanguageTokenizer::encode(std::string_view text,
                                               SpecialTokensInText special) const {
  return narrowed(state_->tokenizer.encode(text, special));
}

std::vector<int32_t> LanguageTokenizer::encode_completion(std::string_view text) const {
  std::vector<int64_t> ids = state_->before;
  for (const int64_t id : state_->tokenizer.encode(text)) ids.push_back(id);
  ids.insert(ids.end(), state_->after.begin(), state_->after.end());
  return narrowed(ids);
}

std::string LanguageTokenizer::decode(std::span<const int32_t> ids,
                                      SpecialTokensShown special) const {
  std::string bytes;
  for (const int32_t id : ids)
    if (special == SpecialTokensShown::yes || !is_special(id)) bytes += piece(id);
  return encode_utf8(decode_utf8(bytes));
}

std::string_view LanguageTokenizer::piece(int32_t id) const {
  return state_->tokenizer.bytes_of(id);
}

bool LanguageTokenizer::is_special(int32_t id) const { return state_->tokenizer.is_special(id); }

std::optional<int32_t> LanguageTokenizer::id_of(const std::string& token) const {
  return narrowed(state_->tokenizer.id_of(token));
}

std::optional<int32_t> LanguageTokenizer::bos() const { return narrowed(state_->bos); }
std::optional<int32_t> LanguageTokenizer::eos() const { return narrowed(state_->eos); }
std::optional<int32_t> LanguageTokenizer::padding() const { return narrowed(state_->padding); }
const std::vector<int32_t>& LanguageTokenizer::end_of_turn() const { return state_->ends; }

int64_t LanguageTokenizer::vocabulary_size() const { return state_->tokenizer.vocabulary_size(); }

const std::string& LanguageTokenizer::chat_template() const { return state_->chat_template; }

std::string LanguageTokenizer::render_chat(const Json& messages, bool add_generation_prompt,
                                           const Json& variables) const {
  check_messages(messages);
  if (const auto* error = std::get_if<LoadError>(&state_->parsed)) throw *error;
  ChatVariables given;
  given.add_generation_prompt = add_generation_prompt;
  given.bos_token = state_->content_of(state_->bos);
  given.eos_token = state_->content_of(state_->eos);
  given.others = variables;
  return std::get<ChatTemplate>(state_->parsed).render(messages, given);
}

}  // namespace backlot
