// A text that a language model made for items of a run: one journal line, flushed to disk before
// the text counts, as items are. So no text is made twice.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"

namespace backlot {

struct TextRecord {
  std::string id;      // PlannedText::id
  std::string prompt;  // as the spec gives it
  std::string text;    // what is rendered in its place; the prompt itself if fell_back
  bool fell_back = false;
  std::string note;   // why, or what is not quite as wished; "" if all is well
  int64_t tries = 0;  // 0: nothing was asked of the model
  uint64_t seed = 0;  // of the try that was taken
  std::string finish_reason;
  int64_t prompt_tokens = 0, tokens = 0;  // of that try
  std::string made;                       // when; ISO 8601, UTC
  bool operator==(const TextRecord&) const = default;
};

// {"text": {…}}, a journal line.
Json to_json(const TextRecord& record);

// Nothing if `line` is no such line.
std::optional<TextRecord> text_from_json(const Json& line);

// How the text came about, as a manifest's items say it: all but id, prompt and text.
Json enhancement_json(const TextRecord& record);

}  // namespace backlot
