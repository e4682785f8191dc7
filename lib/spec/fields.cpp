#include "spec/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "schedulers/names.h"
#include "spec/tree.h"
#include "spec/yaml.h"

namespace backlot {
namespace {

constexpr std::string_view long_prompt_choices[] = {"truncate", "chunk"};

constexpr unsigned bit(Task task) { return 1u << static_cast<unsigned>(task); }
constexpr unsigned texts = bit(Task::enhance);
constexpr unsigned videos = bit(Task::text_to_video);
constexpr unsigned visual = bit(Task::text_to_image) | videos;
constexpr unsigned everything = visual | texts;

constexpr unsigned sdxl = 1u << static_cast<unsigned>(ModelFamily::sdxl);
constexpr unsigned wan = 1u << static_cast<unsigned>(ModelFamily::wan);

constexpr Field fields[] = {
    {.name = "prompt",
     .kind = FieldKind::text,
     .help = "what to make; required",
     .alternatives = true,
     .tasks = everything},
    {.name = "prompt_2",
     .kind = FieldKind::text,
     .help = "another prompt for the second text encoder",
     .absent = "the prompt",
     .alternatives = true,
     .families = sdxl},
    {.name = "negative_prompt",
     .kind = FieldKind::text,
     .help = "what to keep out, under guidance; for SDXL absent and \"\" differ",
     .absent = "SDXL: zero embeddings; Wan: the empty text",
     .alternatives = true,
     .tasks = visual},
    {.name = "negative_prompt_2",
     .kind = FieldKind::text,
     .help = "another negative prompt for the second text encoder",
     .absent = "the negative prompt",
     .alternatives = true,
     .families = sdxl},
    {.name = "seed",
     .kind = FieldKind::seed,
     .help = "starts the item's random numbers",
     .absent = "drawn once and recorded",
     .tasks = everything},
    {.name = "count",
     .kind = FieldKind::integer,
     .help = "how many of each, with seeds seed, seed+1, …",
     .least = 1,
     .most = 1'000'000,
     .default_json = "1",
     .parameter = false,
     .tasks = everything},
    {.name = "steps",
     .kind = FieldKind::integer,
     .help = "denoising steps",
     .least = 1,
     .most = 1000,
     .default_json = "50",
     .tasks = visual},
    {.name = "guidance_scale",
     .kind = FieldKind::number,
     .help = "how closely to follow the prompt; at most 1: no guidance",
     .least = 0,
     .most = 1000,
     .default_json = "5.0",
     .tasks = visual},
    {.name = "guidance_scale_2",
     .kind = FieldKind::number,
     .help = "Wan 2.2: the same for the second transformer, which takes the last steps",
     .least = 0,
     .most = 1000,
     .absent = "guidance_scale",
     .tasks = visual,
     .families = wan},
    {.name = "guidance_rescale",
     .kind = FieldKind::number,
     .help = "tames overexposure under strong guidance",
     .least = 0,
     .most = 1,
     .default_json = "0.0",
     .families = sdxl},
    {.name = "scheduler",
     .kind = FieldKind::scheduler,
     .help = "sampler: a name laid over the model's configuration, or a mapping that replaces it",
     .absent = "the model's",
     .tasks = visual},
    // Without a default: runs of versions that lacked it keep their items' ids.
    {.name = "cache",
     .kind = FieldKind::integer,
     .help = "deep features of the UNet are made at every N-th step and reused between: faster, "
             "another picture",
     .least = 1,
     .most = 1000,
     .absent = "1, at every step",
     .families = sdxl},
    {.name = "width",
     .kind = FieldKind::integer,
     .help = "pixels",
     .least = 8,
     .most = 16384,
     .multiple = 8,
     .absent = "the model's own size",
     .tasks = visual},
    {.name = "height",
     .kind = FieldKind::integer,
     .help = "pixels",
     .least = 8,
     .most = 16384,
     .multiple = 8,
     .absent = "the model's own size",
     .tasks = visual},
    {.name = "frames",
     .kind = FieldKind::integer,
     .help = "length of the clip: 4 N + 1, other numbers are rounded to that with a warning",
     .least = 1,
     .most = 4097,
     .default_json = "81",
     .tasks = videos,
     .families = wan},
    {.name = "fps",
     .kind = FieldKind::number,
     .help = "frames a second at which it plays",
     .least = 1,
     .most = 240,
     .default_json = "16.0",
     .tasks = videos,
     .families = wan},
    {.name = "max_sequence_length",
     .kind = FieldKind::integer,
     .help = "Wan: tokens of a prompt, the rest is cut off",
     .least = 1,
     .most = 2048,
     .default_json = "512",
     .tasks = visual,
     .families = wan},
    {.name = "clip_skip",
     .kind = FieldKind::integer,
     .help = "layers left out at the end of the text encoders, for the positive prompt",
     .least = 0,
     .most = 64,
     .default_json = "0",
     .families = sdxl},
    {.name = "long_prompt",
     .kind = FieldKind::choice,
     .help = "a prompt over 77 tokens: cut it with a warning, or encode it in chunks",
     .choices = long_prompt_choices,
     .default_json = "\"truncate\"",
     .families = sdxl},
    {.name = "prompt_weighting",
     .kind = FieldKind::boolean,
     .help = "read (word:1.3) and [word] as weights",
     .default_json = "false",
     .families = sdxl},
    {.name = "original_size",
     .kind = FieldKind::size,
     .help = "[height, width] that the picture is told to have had",
     .least = 0,
     .most = 65536,
     .absent = "[height, width]",
     .families = sdxl},
    {.name = "crops_coords_top_left",
     .kind = FieldKind::size,
     .help = "[top, left] of the crop that it is told of",
     .least = 0,
     .most = 65536,
     .default_json = "[0,0]",
     .families = sdxl},
    {.name = "target_size",
     .kind = FieldKind::size,
     .help = "[height, width] that it is told to have",
     .least = 0,
     .most = 65536,
     .absent = "[height, width]",
     .families = sdxl},
    {.name = "negative_original_size",
     .kind = FieldKind::size,
     .help = "the same for the negative prompt",
     .least = 0,
     .most = 65536,
     .absent = "original_size",
     .families = sdxl},
    {.name = "negative_crops_coords_top_left",
     .kind = FieldKind::size,
     .help = "the same for the negative prompt",
     .least = 0,
     .most = 65536,
     .default_json = "[0,0]",
     .families = sdxl},
    {.name = "negative_target_size",
     .kind = FieldKind::size,
     .help = "the same for the negative prompt",
     .least = 0,
     .most = 65536,
     .absent = "target_size",
     .families = sdxl},
    {.name = "variant",
     .kind = FieldKind::word,
     .help = "weights to read: fp16 picks *.fp16.safetensors",
     .absent = "the plain files",
     .tasks = visual},
    {.name = "vae",
     .kind = FieldKind::folder,
     .help = "folder of another autoencoder",
     .absent = "the model's",
     .families = sdxl},
    {.name = "vae_tiling",
     .kind = FieldKind::boolean,
     .help = "decode in overlapping tiles: less memory, slightly other pixels",
     .default_json = "false",
     .tasks = visual},
    {.name = "style",
     .kind = FieldKind::style,
     .help = "what a prompt is made into, see docs/enhance.md",
     .default_json = "\"image-fast\"",
     .tasks = texts},
    {.name = "max_tokens",
     .kind = FieldKind::integer,
     .help = "tokens that the language model writes at most",
     .least = 1,
     .most = 32768,
     .absent = "the style's",
     .tasks = texts},
    {.name = "temperature",
     .kind = FieldKind::number,
     .help = "how freely tokens are drawn; 0: always the likeliest",
     .least = 0,
     .most = 10,
     .absent = "the style's",
     .tasks = texts},
    {.name = "top_k",
     .kind = FieldKind::integer,
     .help = "only the k likeliest tokens; 0: all",
     .least = 0,
     .most = 1'000'000,
     .absent = "the style's",
     .tasks = texts},
    {.name = "top_p",
     .kind = FieldKind::number,
     .help = "only the likeliest tokens that together reach this probability",
     .least = 0,
     .most = 1,
     .absent = "the style's",
     .tasks = texts},
    {.name = "min_p",
     .kind = FieldKind::number,
     .help = "only tokens at least this likely, as a part of the likeliest one's probability",
     .least = 0,
     .most = 1,
     .absent = "the style's",
     .tasks = texts},
    {.name = "repetition_penalty",
     .kind = FieldKind::number,
     .help = "makes tokens that were there already less likely; 1: no",
     .least = 0,
     .most = 10,
     .absent = "the style's",
     .tasks = texts},
    {.name = "retries",
     .kind = FieldKind::integer,
     .help = "further tries, each with another seed, after a text that is refused",
     .least = 0,
     .most = 100,
     .absent = "the style's",
     .tasks = texts},
};

constexpr std::string_view later_fields[] = {
    "image",      "mask_image", "strength",      "loras",
    "ip_adapter", "controlnet", "control_image", "controlnet_conditioning_scale",
    "messages",   "stop",       "video",         "num_frames",
    "from",       "to"};

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

std::span<const Field> job_fields() { return fields; }

const Field* find_field(std::string_view name) {
  const auto found = std::ranges::find(fields, name, &Field::name);
  return found == std::end(fields) ? nullptr : found;
}

std::span<const std::string_view> later_job_fields() { return later_fields; }

std::string option_name(const Field& field) {
  std::string name = "--" + std::string(field.name);
  std::ranges::replace(name, '_', '-');
  return name;
}

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
    case FieldKind::size:
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
    case FieldKind::integer:
      break;
  }
  const std::string range = fmt::format("a whole number from {} to {}", field.least, field.most);
  return field.multiple == 1 ? range : fmt::format("{}, a multiple of {}", range, field.multiple);
}

}  // namespace backlot
