// The fields of a job, once: what a spec may say, what the command line takes as options, what the
// manifest records and what docs/jobspec.md and the JSON Schema list are all made from this table.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "spec/item.h"
#include "spec/problem.h"

namespace backlot {

enum class FieldKind {
  text,       // any Unicode text without NUL
  word,       // letters, digits, '_', '-' and '.': part of a file name
  choice,     // one of `choices`
  integer,    // least to most, a multiple of `multiple`
  number,     // finite, least to most
  boolean,    //
  seed,       // 0 to 2^64 - 1
  size,       // [height, width], each least to most
  folder,     // a path; relative to the spec
  style,      // a style's name, or a path relative to the spec
  scheduler,  // a name, or a mapping with _class_name
  texts,      // a text or a list of texts, none empty; items carry a list
  chat,       // [{"role": …, "content": text}, …]
  scenes,     // [{"prompt": text, …}, …], each with some of scene_keys
};

struct Field {
  std::string_view name;  // as in diffusers, snake_case
  FieldKind kind;
  std::string_view help;  // one line
  int64_t least = 0, most = 0;
  int64_t multiple = 1;
  std::span<const std::string_view> choices = {};
  // What an item gets if neither the job, the spec's defaults nor the preset say anything, as JSON;
  // "" leaves the field absent.
  std::string_view default_json = "";
  std::string_view absent = "";  // what absence means, where it is not the default_json
  bool alternatives = false;     // {a|b} in it multiplies items
  bool parameter = true;         // false: shapes the expansion (count), no parameter of an item
  unsigned tasks = 1u << static_cast<unsigned>(Task::text_to_image);
  unsigned families = ~0u;  // of models whose pipelines know it

  bool applies_to(Task task) const { return tasks & 1u << static_cast<unsigned>(task); }
  bool applies_to(ModelFamily family) const {
    return families & 1u << static_cast<unsigned>(family);
  }
};

// Whether it may stand in a matrix.
inline bool can_vary(const Field& field) {
  return field.parameter && field.kind != FieldKind::scenes;
}

// All of them, in the order in which people read them.
std::span<const Field> job_fields();

// The field of that name, or null.
const Field* find_field(std::string_view name);

// Names of the job spec's contract that this version can't honour yet: errors, never ignored.
std::span<const std::string_view> later_job_fields();

// "--guidance-scale"
std::string option_name(const Field& field);

// `value` as items carry it (numbers as floating point, so that 3 and 3.0 are the same item). null
// passes: it means absent. Throws Problem, worded to follow the field's name: "is 830, not …".
Json check_field(const Field& field, const Json& value);

// The value that `text` stands for: for text fields the text itself, for others what it reads as
// (numbers, true, [1024, 768], {"_class_name": …}). Not yet checked. "null" is absence for every
// field. Throws Problem.
Json field_from_text(const Field& field, std::string_view text);

// "text", "whole number, 8 to 16384, multiple of 8": for help, docs and messages.
std::string describe_kind(const Field& field);

}  // namespace backlot
