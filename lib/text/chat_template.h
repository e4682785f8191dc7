// The text that a chat model was trained on, from messages: the Jinja templates that models bring
// along, rendered as transformers' apply_chat_template renders them.
#pragma once

#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"

namespace backlot {

// Throws UsageError, naming the message's index, unless `messages` is a non-empty array of objects,
// each with a role (a word) and a content (a text that is not blank, or a list of
// {"type": "text", "text": …}). Other keys of a message are the template's business.
void check_messages(const Json& messages);

struct ChatVariables {
  bool add_generation_prompt = true;
  std::string bos_token, eos_token;
  Json others = Json::object();    // further names; they win over these and over `messages`
  std::optional<std::time_t> now;  // for strftime_now(); none: the clock
};

// A parsed template. Templates come with models and are not trusted: depth, steps and output are
// bounded, and nothing outside the given variables can be reached. Immutable, cheap to copy, safe
// to use from several threads.
class ChatTemplate {
 public:
  // Throws LoadError "WHERE:LINE: …" for what is not Jinja or not of the subset.
  ChatTemplate(const std::string& source, std::string where);

  // `messages` are checked first. Throws UsageError for them, ItemError if the template calls
  // raise_exception, LoadError "WHERE:LINE: …" if it is wrong or exceeds the bounds.
  std::string render(const Json& messages, const ChatVariables& variables) const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

// Templates for models that bring none.
const std::string& chatml_template();
const std::string& llama3_template();

}  // namespace backlot
