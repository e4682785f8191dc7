#include "run/text_record.h"

namespace backlot {

Json enhancement_json(const TextRecord& record) {
  return {{"fell_back", record.fell_back},
          {"note", record.note.empty() ? Json() : Json(record.note)},
          {"tries", record.tries},
          {"seed", record.seed},
          {"finish_reason", record.finish_reason.empty() ? Json() : Json(record.finish_reason)},
          {"prompt_tokens", record.prompt_tokens},
          {"tokens", record.tokens},
          {"made", record.made}};
}

Json to_json(const TextRecord& record) {
  Json text = {{"id", record.id}, {"prompt", record.prompt}, {"text", record.text}};
  text.update(enhancement_json(record));
  return {{"text", std::move(text)}};
}

std::optional<TextRecord> text_from_json(const Json& line) try {
  const Json& text = line.at("text");
  const auto or_empty = [&](const char* name) {
    const Json& value = text.at(name);
    return value.is_null() ? std::string() : value.get<std::string>();
  };
  TextRecord record;
  record.id = text.at("id");
  record.prompt = text.at("prompt");
  record.text = text.at("text");
  record.fell_back = text.at("fell_back");
  record.note = or_empty("note");
  record.tries = text.at("tries");
  record.seed = text.at("seed");
  record.finish_reason = or_empty("finish_reason");
  record.prompt_tokens = text.at("prompt_tokens");
  record.tokens = text.at("tokens");
  record.made = text.at("made");
  return record;
} catch (const Json::exception&) {
  return std::nullopt;
}

}  // namespace backlot
