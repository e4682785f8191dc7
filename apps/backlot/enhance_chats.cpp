// `backlot enhance` on chats that are given whole.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>

#include "base/files.h"
#include "base/text.h"
#include "base/time.h"
#include "command.h"
#include "enhance.h"
#include "log.h"
#include "text/chat_template.h"

namespace backlot {
namespace {

constexpr uint64_t largest_input = uint64_t{256} << 20;

struct Chat {
  std::string id;
  std::string where;  // for messages
  Json messages;
  Json settings = Json::object();  // max_tokens, temperature, … of the request itself
};

std::string read_input(const std::string& path) {
  if (path != "-") return read_file(path, largest_input);
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

constexpr const char* a_chat = "[{\"role\": \"user\", \"content\": \"Hello\"}]";
constexpr const char* an_envelope =
    "{\"custom_id\": \"1\", \"body\": {\"messages\": [{\"role\": \"user\", …}]}}";

// `line` is that of the text's first character.
Json parse_json(const std::string& text, const std::string& file, int64_t line,
                const char* such_as) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    const auto before = std::string_view(text).substr(0, error.byte > 0 ? error.byte - 1 : 0);
    const auto lines = std::ranges::count(before, '\n');
    const size_t column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    throw UsageError(fmt::format("{}:{}:{}", file, line + lines, column),
                     error.byte > text.size() ? "the JSON ends too early" : "is no JSON",
                     fmt::format("write it as {}", such_as));
  }
}

// A line of the batch envelope: {"custom_id": …, "body": {"messages": […], "max_tokens": …}}.
Chat read_envelope(const std::string& line, const std::string& file, int64_t number) {
  const Json json = parse_json(line, file, number, an_envelope);
  const std::string where = fmt::format("{}:{}", file, number);
  const auto refuse = [&](const std::string& what) {
    throw UsageError(where, what, fmt::format("write it as {}", an_envelope));
  };
  if (!json.is_object()) refuse("is no JSON object");
  const auto body = json.find("body");
  if (body == json.end() || !body->is_object()) refuse("has no body");
  Chat chat{.id = "", .where = where, .messages = Json(), .settings = *body};
  const auto id = json.find("custom_id");
  if (id == json.end() || !id->is_string()) refuse("has no custom_id, which should be a text");
  chat.id = id->get<std::string>();
  const auto messages = body->find("messages");
  if (messages == body->end()) refuse("its body has no messages");
  chat.messages = *messages;
  chat.settings.erase("messages");
  return chat;
}

std::vector<Chat> read_chats(const EnhanceOptions& options) {
  std::vector<Chat> chats;
  if (!options.messages.empty()) {
    const std::string where = options.messages == "-" ? "standard input" : options.messages;
    chats.push_back({.id = "chat-1",
                     .where = where,
                     .messages = parse_json(read_input(options.messages), where, 1, a_chat)});
  }
  if (!options.requests.empty()) {
    const std::string where = options.requests == "-" ? "standard input" : options.requests;
    int64_t number = 0;
    for (const auto& line : split(read_input(options.requests), '\n')) {
      ++number;
      if (!trim(line).empty()) chats.push_back(read_envelope(line, where, number));
    }
    if (chats.empty()) throw UsageError(where, "has no requests", "give one JSON object a line");
  }
  return chats;
}

// Of the envelope's fields, those that say nothing, and those that ask for what happens anyway.
bool asks_for_nothing(const std::string& key, const Json& value) {
  static const std::map<std::string, Json> usual = {{"n", 1},
                                                    {"stream", false},
                                                    {"logprobs", false},
                                                    {"presence_penalty", 0},
                                                    {"frequency_penalty", 0}};
  const auto found = usual.find(key);
  return value.is_null() || key == "model" || key == "user" || key == "metadata" ||
         (found != usual.end() && found->second == value);
}

UsageError unknown_setting(const Chat& chat, const std::string& key) {
  constexpr std::string_view known[] = {
      "max_tokens", "max_completion_tokens", "temperature", "top_p",      "min_p",
      "top_k",      "repetition_penalty",    "seed",        "ignore_eos", "stop",
      "messages"};
  const std::string meant = nearest(key, known);
  return {chat.where, fmt::format("its body has '{}', which is not supported", key),
          meant.empty() ? "leave it out" : fmt::format("did you mean {}?", meant)};
}

// A setting of the request's own body, over what the command line says.
void apply_setting(const Chat& chat, const std::string& key, const Json& value,
                   GenerationRequest& request) {
  const auto refuse = [&](const std::string& wanted) {
    throw UsageError(chat.where, fmt::format("its {} is {}", key, value.dump().substr(0, 60)),
                     "give " + wanted);
  };
  const auto number = [&] {
    if (!value.is_number()) refuse("a number");
    return value.get<double>();
  };
  const auto count = [&] {
    if (!value.is_number_integer() || value.get<int64_t>() < 0) refuse("a whole number, 0 or more");
    return value.get<int64_t>();
  };
  auto& sampling = request.sampling;
  if (key == "max_tokens" || key == "max_completion_tokens") {
    request.max_tokens = count();
    if (request.max_tokens == 0) refuse("at least 1");
  } else if (key == "temperature") {
    sampling.temperature = number();
  } else if (key == "top_p") {
    sampling.top_p = number();
  } else if (key == "min_p") {
    sampling.min_p = number();
  } else if (key == "top_k") {
    sampling.top_k = count();
  } else if (key == "repetition_penalty") {
    sampling.repetition_penalty = number();
  } else if (key == "seed") {
    sampling.seed =
        value.is_number_unsigned() ? value.get<uint64_t>() : static_cast<uint64_t>(count());
  } else if (key == "ignore_eos") {
    if (!value.is_boolean()) refuse("true or false");
    request.ignore_eos = value.get<bool>();
  } else if (key == "stop") {
    const Json list = value.is_string() ? Json::array({value}) : value;
    if (!list.is_array()) refuse("a text or a list of texts");
    request.stop_strings.clear();
    for (const auto& text : list) {
      if (!text.is_string() || text.get<std::string>().empty()) refuse("texts that are not empty");
      request.stop_strings.push_back(text.get<std::string>());
    }
  } else {
    throw unknown_setting(chat, key);
  }
}

GenerationRequest request_for(const Chat& chat, const EnhanceOptions& options,
                              const LanguageSession& session) {
  constexpr int64_t default_max_tokens = 512;
  GenerationRequest request;
  request.name = chat.where;
  try {
    check_messages(chat.messages);
    request.prompt = session.encode_chat(chat.messages);
  } catch (const UsageError& error) {
    throw UsageError(chat.where, error.problem(), error.mend());
  } catch (const ItemError& error) {
    throw UsageError(chat.where, error.problem(), error.mend());
  }
  request.sampling = sampling_of(options, {});
  request.max_tokens =
      static_cast<int64_t>(sampling_number(options, "max_tokens").value_or(default_max_tokens));
  request.stop_strings = options.stop;
  request.ignore_eos = options.ignore_eos;
  for (const auto& [key, value] : chat.settings.items())
    if (!asks_for_nothing(key, value)) apply_setting(chat, key, value, request);
  try {
    check_sampling(request.sampling, chat.where);
  } catch (const ItemError& error) {
    throw UsageError(error.where(), error.problem(), error.mend());
  }
  return request;
}

// The last thing that was said to the model.
std::string prompt_of(const Json& messages) {
  const auto& content = messages.back().at("content");
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  for (const auto& part : content)
    if (part.contains("text")) text += part.at("text").get<std::string>();
  return text;
}

Json result_json(const Chat& chat, const GenerationRequest& request,
                 const GenerationResult& result) {
  return {{"id", chat.id},
          {"prompt", prompt_of(chat.messages)},
          {"text", result.text},
          {"token_ids", result.token_ids},
          {"prompt_tokens", result.prompt_tokens},
          {"finish_reason", finish_reason_name(result.finish_reason)},
          {"seed", request.sampling.seed},
          {"seconds",
           {{"wait", result.wait_seconds},
            {"prefill", result.prefill_seconds},
            {"decode", result.decode_seconds}}}};
}

// `text` with each control character as `written` has it. U+0080 to U+009F are two bytes of UTF-8.
std::string with_controls(std::string_view text,
                          const std::function<std::string(unsigned char)>& written) {
  std::string shown;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (c < 0x20 || c == 0x7f) {
      shown += written(c);
    } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
      shown += written(next);
      ++i;
    } else {
      shown += text[i];
    }
  }
  return shown;
}

}  // namespace

void print_now(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw EnvironmentError("standard output", "cannot be written",
                           "free the disk or mend the pipe, then run again");
}

void LinesInOrder::add(size_t place, std::optional<std::string> line) {
  lines_.resize(std::max(lines_.size(), place + 1));
  lines_[place] = std::move(line);
  known_.resize(lines_.size());
  known_[place] = true;
  for (; next_ < lines_.size() && known_[next_]; ++next_) {
    if (!lines_[next_]) continue;
    print_now(*lines_[next_] + "\n");
    lines_[next_].reset();
  }
}

std::string for_terminal(std::string_view text) {
  return with_controls(text, [](unsigned char c) {
    return c == '\n' || c == '\t' ? std::string(1, static_cast<char>(c)) : std::string();
  });
}

std::string json_line(const Json& json) {
  return with_controls(json.dump(-1, ' ', false, Json::error_handler_t::replace),
                       [](unsigned char c) { return fmt::format("\\u{:04x}", c); });
}

ExitCode answer_chats(const EnhanceOptions& options, LanguageSession& session) {
  const auto chats = read_chats(options);
  std::vector<GenerationRequest> requests;
  for (const auto& chat : chats) requests.push_back(request_for(chat, options, session));
  if (options.stream)
    requests.front().on_text = [](std::string_view text) { print_now(for_terminal(text)); };
  const auto asked = requests;
  LinesInOrder printer;
  ExitCode code = ExitCode::done;
  const Stopwatch watch;
  session.run(std::move(requests), [&](size_t i, const GenerationOutcome& outcome) {
    if (outcome.error) {
      log_error(outcome.error->what());
      code = ExitCode::items_failed;
      std::optional<std::string> line;
      if (options.run.json)
        line = json_line({{"id", chats[i].id}, {"error", outcome.error->what()}});
      printer.add(i, std::move(line));
    } else if (options.run.json) {
      printer.add(i, json_line(result_json(chats[i], asked[i], *outcome.result)));
    } else {
      printer.add(i, options.stream ? "" : for_terminal(outcome.result->text));
    }
  });
  tell_speed(session, watch.seconds());
  return code;
}

}  // namespace backlot
