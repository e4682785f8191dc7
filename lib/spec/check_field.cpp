// Values of fields: what is accepted, how a command line writes them, and how people are told.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "schedulers/names.h"
#include "spec/fields.h"
#include "spec/scenes.h"
#include "spec/tree.h"
#include "spec/yaml.h"

namespace backlot {
namespace {

constexpr std::string_view chat_roles[] = {"system", "user", "assistant"};
constexpr size_t most_stops = 64;

[[noreturn]] void wrong_kind(const Field& field, const Json& value) {
  std::string shown = value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 60);
  std::string mend = fmt::format("give {}", describe_kind(field));
  if (field.kind == FieldKind::text && value.is_primitive())
    mend = fmt::format("put text in quotes: \"{}\"", value.is_string() ? "" : shown);
  throw Problem{fmt::format("is {} ({})", kind_of(value), shown), std::move(mend)};
}

Json check_text(const Field& field, const Json& value) {
  if (!value.is_string()) wrong_kind(field, value);
  const auto& text = value.get_ref<const std::string&>();
  if (!is_utf8(text)) throw Problem{"is not valid UTF-8", "give the text as UTF-8"};
  if (text.find('\0') != std::string::npos) throw Problem{"holds a NUL character", "remove it"};
  return value;
}

Json check_word(const Field& field, const Json& value) {
  const std::string text = check_text(field, value);
  const bool safe = !text.empty() && text.size() <= 64 && text.front() != '.' &&
                    std::ranges::all_of(text, [](unsigned char c) {
                      return c < 0x80 && (std::isalnum(c) || c == '_' || c == '-' || c == '.');
                    });
  if (!safe)
    throw Problem{fmt::format("is \"{}\", not part of a file name", text.substr(0, 60)),
                  "use letters, digits, '_' and '-', as in fp16"};
  return value;
}

Json check_choice(const Field& field, const Json& value) {
  if (value.is_string() && std::ranges::count(field.choices, value.get<std::string>()))
    return value;
  const std::string near =
      value.is_string() ? nearest(value.get<std::string>(), field.choices) : "";
  throw Problem{fmt::format("is {}", value.dump().substr(0, 60)),
                near.empty() ? fmt::format("give one of {}", fmt::join(field.choices, ", "))
                             : fmt::format("did you mean {}?", near)};
}

std::string_view as_written(const Json& value, std::string& buffer) {
  return buffer = value.dump().substr(0, 60);
}

Json check_integer(const Field& field, const Json& value) {
  if (!value.is_number_integer()) wrong_kind(field, value);
  std::string buffer;
  const bool huge = value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(field.most);
  const int64_t number = huge ? field.most + 1 : value.get<int64_t>();
  if (number < field.least || number > field.most)
    throw Problem{fmt::format("is {}", as_written(value, buffer)),
                  fmt::format("give {}", describe_kind(field))};
  if (number % field.multiple) {
    const int64_t below = number / field.multiple * field.multiple;
    const int64_t above = below + field.multiple;
    throw Problem{fmt::format("is {}, not a multiple of {}", number, field.multiple),
                  below < field.least  ? fmt::format("the nearest is {}", above)
                  : above > field.most ? fmt::format("the nearest is {}", below)
                                       : fmt::format("the nearest are {} and {}", below, above)};
  }
  return number;
}

Json check_number(const Field& field, const Json& value) {
  if (!value.is_number()) wrong_kind(field, value);
  const double number = value.get<double>();
  std::string buffer;
  if (!std::isfinite(number))
    throw Problem{"is not a finite number", fmt::format("give {}", describe_kind(field))};
  if (number < static_cast<double>(field.least) || number > static_cast<double>(field.most))
    throw Problem{fmt::format("is {}", as_written(value, buffer)),
                  fmt::format("give {}", describe_kind(field))};
  return number + 0.0;  // no negative zero
}

Json check_seed(const Field& field, const Json& value) {
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  if (!value.is_number_integer()) {
    if (value.is_array())
      throw Problem{"is a list", "for several seeds write matrix: {seed: [1, 2, 3]}, or use count"};
    wrong_kind(field, value);
  }
  const int64_t number = value.get<int64_t>();
  if (number < 0)
    throw Problem{fmt::format("is {}", number),
                  "give 0 to 2^64-1, or leave the seed out to have one drawn"};
  return static_cast<uint64_t>(number);
}

Json check_size(const Field& field, const Json& value) {
  const bool pair = value.is_array() && value.size() == 2 && value[0].is_number_integer() &&
                    value[1].is_number_integer();
  if (!pair) wrong_kind(field, value);
  Json out = Json::array();
  for (const auto& part : value) out.push_back(check_integer(field, part));
  return out;
}

Json check_folder(const Field& field, const Json& value) {
  const std::string text = check_text(field, value);
  if (text.empty()) throw Problem{"is an empty path", "name a folder, or leave it out"};
  return value;
}

Json check_style(const Field& field, const Json& value) {
  const std::string text = check_text(field, value);
  if (text.empty()) throw Problem{"is empty", "name a style such as cinematic, or leave it out"};
  return value;
}

Json check_texts(const Field& field, const Json& value) {
  const Json list = value.is_string() ? Json::array({value}) : value;
  if (!list.is_array()) wrong_kind(field, value);
  if (list.size() > most_stops)
    throw Problem{fmt::format("has {} entries", list.size()),
                  fmt::format("give at most {}", most_stops)};
  for (const auto& text : list)
    if (check_text(field, text).get_ref<const std::string&>().empty())
      throw Problem{"holds an empty text", "remove it"};
  return list;
}

Json check_chat(const Field& field, const Json& value) {
  if (!value.is_array()) wrong_kind(field, value);
  if (value.empty()) throw Problem{"is empty", fmt::format("give {}", describe_kind(field))};
  for (const auto& message : value) {
    if (!message.is_object() || message.size() != 2 || !message.contains("role") ||
        !message.contains("content"))
      throw Problem{"holds something else than a message",
                    "write each as {role: user, content: text}"};
    if (!message["role"].is_string() ||
        !std::ranges::count(chat_roles, message["role"].get<std::string>()))
      throw Problem{fmt::format("has the role {}", message["role"].dump().substr(0, 40)),
                    fmt::format("give one of {}", fmt::join(chat_roles, ", "))};
    check_text(field, message["content"]);
  }
  if (value.back()["role"] == "assistant")
    throw Problem{"ends with the assistant's own words", "let a user's message be the last"};
  return value;
}

Json check_sampler(const Field& field, const Json& value) {
  if (!value.is_object() && !value.is_string()) wrong_kind(field, value);
  try {
    check_scheduler(value);
  } catch (const SpecError& error) {
    throw Problem{"is refused: " + error.problem(), error.mend()};
  }
  return value;
}

}  // namespace

Json check_field(const Field& field, const Json& value) {
  if (value.is_null()) return value;
  switch (field.kind) {
    case FieldKind::text:
      return check_text(field, value);
    case FieldKind::word:
      return check_word(field, value);
    case FieldKind::choice:
      return check_choice(field, value);
    case FieldKind::integer:
      return check_integer(field, value);
    case FieldKind::number:
      return check_number(field, value);
    case FieldKind::seed:
      return check_seed(field, value);
    case FieldKind::size:
      return check_size(field, value);
    case FieldKind::folder:
      return check_folder(field, value);
    case FieldKind::style:
      return check_style(field, value);
    case FieldKind::scheduler:
      return check_sampler(field, value);
    case FieldKind::texts:
      return check_texts(field, value);
    case FieldKind::chat:
      return check_chat(field, value);
    case FieldKind::scenes:
      return scenes_from(value_from_json(value, Mark{}));
    case FieldKind::boolean:
      if (!value.is_boolean()) wrong_kind(field, value);
      return value;
  }
  return value;
}

Json field_from_text(const Field& field, std::string_view text) {
  if (text == "null") return nullptr;
  switch (field.kind) {
    case FieldKind::text:
    case FieldKind::word:
    case FieldKind::choice:
    case FieldKind::folder:
    case FieldKind::style:
      return std::string(text);
    case FieldKind::texts:
      if (!text.starts_with('[')) return std::string(text);
      [[fallthrough]];
    case FieldKind::size:
    case FieldKind::chat:
    case FieldKind::scenes:
    case FieldKind::scheduler: {
      if (!text.starts_with('[') && !text.starts_with('{')) return plain_scalar(text);
      Json parsed = Json::parse(text, nullptr, false);
      if (parsed.is_discarded())
        throw Problem{fmt::format("is not valid JSON: {}", text.substr(0, 60)),
                      fmt::format("give {}", describe_kind(field))};
      return parsed;
    }
    default:
      return plain_scalar(text);
  }
}

std::string describe_kind(const Field& field) {
  switch (field.kind) {
    case FieldKind::text:
      return "text";
    case FieldKind::word:
      return "a word such as fp16";
    case FieldKind::choice:
      return fmt::format("one of {}", fmt::join(field.choices, ", "));
    case FieldKind::number:
      return fmt::format("a number from {} to {}", field.least, field.most);
    case FieldKind::boolean:
      return "true or false";
    case FieldKind::seed:
      return "a whole number from 0 to 2^64-1";
    case FieldKind::size:
      return fmt::format("two whole numbers in brackets, each {} to {}", field.least, field.most);
    case FieldKind::folder:
      return "a folder's path";
    case FieldKind::style:
      return "a style's name, or a path to a .yaml file";
    case FieldKind::scheduler:
      return "a sampler's name, or a mapping with _class_name";
    case FieldKind::texts:
      return "a text or a list of texts";
    case FieldKind::chat:
      return "a list of {role: system, user or assistant, content: text}";
    case FieldKind::scenes:
      return "a list of prompts, or of {prompt, negative_prompt, seed, frames, transition, "
             "transition_frames}";
    case FieldKind::integer:
      break;
  }
  const std::string range = fmt::format("a whole number from {} to {}", field.least, field.most);
  return field.multiple == 1 ? range : fmt::format("{}, a multiple of {}", range, field.multiple);
}

}  // namespace backlot
