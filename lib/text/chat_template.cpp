#include "text/chat_template.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"
#include "text/unicode.h"

namespace backlot {
namespace {

constexpr char mend[] = "use another chat template, as chat_template.jinja in the model's folder";

[[noreturn]] void refuse(std::string where, std::string what) {
  throw UsageError(std::move(where), std::move(what),
                   R"(write messages as [{"role": "user", "content": "…"}])");
}

bool is_blank(const std::string& text) {
  const auto characters = decode_utf8(text);
  return std::all_of(characters.begin(), characters.end(), is_white_space);
}

// The text of a content: itself, or its parts put together.
std::string text_of(const Json& content, const std::string& where) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) refuse(where, "content is neither a text nor a list of texts");
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    const bool is_text = part.is_object() && part.contains("type") && part["type"] == "text" &&
                         part.contains("text") && part["text"].is_string();
    if (!is_text)
      refuse(fmt::format("{}.content[{}]", where, i), R"(not {"type": "text", "text": …})");
    text += part["text"].get<std::string>();
  }
  return text;
}

jinja::Entries variables_of(const Json& messages, const ChatVariables& given) {
  jinja::Entries variables;
  const auto set = [&](const std::string& name, jinja::Value value) {
    variables.emplace_back(name, std::move(value));
  };
  // transformers leaves out the special tokens that a tokenizer has not.
  if (!given.bos_token.empty()) set("bos_token", jinja::Value::of(given.bos_token));
  if (!given.eos_token.empty()) set("eos_token", jinja::Value::of(given.eos_token));
  for (const auto& [name, value] : given.others.items()) set(name, jinja::Value::from_json(value));
  set("messages", jinja::Value::from_json(messages));
  set("tools", jinja::Value::none());
  set("documents", jinja::Value::none());
  set("add_generation_prompt", jinja::Value::of(given.add_generation_prompt));
  return variables;
}

}  // namespace

struct ChatTemplate::State {
  jinja::Block block;
  std::string where;
};

void check_messages(const Json& messages) {
  if (!messages.is_array()) refuse("messages", "not a list");
  if (messages.empty()) refuse("messages", "there are none");
  for (size_t i = 0; i < messages.size(); ++i) {
    const Json& message = messages[i];
    const std::string where = fmt::format("messages[{}]", i);
    if (!message.is_object()) refuse(where, "not an object");
    const auto role = message.find("role"), content = message.find("content");
    if (role == message.end() || !role->is_string() || is_blank(role->get<std::string>()))
      refuse(where, "has no role");
    if (content == message.end()) refuse(where, "has no content");
    if (is_blank(text_of(*content, where))) refuse(where, "its content is empty");
  }
}

ChatTemplate::ChatTemplate(const std::string& source, std::string where) {
  try {
    auto state = std::make_shared<State>();
    state->block = jinja::parse_template(source);
    state->where = std::move(where);
    state_ = std::move(state);
  } catch (const jinja::SyntaxError& error) {
    throw LoadError(fmt::format("{}:{}", where, error.line), error.what, mend);
  }
}

std::string ChatTemplate::render(const Json& messages, const ChatVariables& variables) const {
  check_messages(messages);
  jinja::Interpreter interpreter(variables.now.value_or(std::time(nullptr)));
  const auto where = [&] { return fmt::format("{}:{}", state_->where, interpreter.line()); };
  try {
    return interpreter.render(state_->block, variables_of(messages, variables));
  } catch (const jinja::Raised& refusal) {
    throw ItemError(where(), fmt::format("the model refuses these messages: {}", refusal.message),
                    "change the roles or the number of the messages");
  } catch (const jinja::Error& error) {
    throw LoadError(where(), error.what(), mend);
  }
}

const std::string& chatml_template() {
  static const std::string source =
      "{% for message in messages %}"
      "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
      "{% endfor %}"
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
  return source;
}

const std::string& llama3_template() {
  static const std::string source =
      "{{ '<|begin_of_text|>' }}"
      "{% for message in messages %}"
      "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' "
      "+ message.content | trim + '<|eot_id|>' }}"
      "{% endfor %}"
      "{% if add_generation_prompt %}"
      "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";
  return source;
}

}  // namespace backlot
