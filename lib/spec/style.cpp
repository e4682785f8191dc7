#include "spec/style.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/sha256.h"
#include "base/text.h"
#include "spec/fields.h"
#include "spec/yaml.h"

namespace backlot {
namespace {

constexpr std::string_view style_keys[] = {"description", "system",   "request", "examples",
                                           "limits",      "sampling", "retries"};
constexpr std::string_view example_keys[] = {"user", "assistant"};
constexpr std::string_view limit_keys[] = {"min_words", "max_words", "encoder", "max_tokens"};
constexpr std::string_view sampling_keys[] = {"max_tokens", "temperature", "top_k",
                                              "top_p",      "min_p",       "repetition_penalty"};
constexpr std::string_view encoders[] = {"clip", "umt5"};
constexpr uint64_t max_style_bytes = 1 << 20;
constexpr size_t max_examples = 64;
constexpr int64_t most_words = 10'000;

std::string did_you_mean(std::string_view word, std::span<const std::string_view> known) {
  const std::string near = nearest(word, known);
  return near.empty() ? fmt::format("there are {}", fmt::join(known, ", "))
                      : fmt::format("did you mean {}?", near);
}

class StyleReader {
 public:
  StyleReader(const Sources& sources, std::string name) : sources_(sources) {
    style_.name = std::move(name);
  }

  Style read(const Value& root) {
    check_map(root, "a style", style_keys);
    for (const auto& [key, mark, value] : root.entries()) read_key(key, value);
    if (style_.system.empty() && style_.examples.empty())
      fail(root.mark(), "the style says nothing", "give it `system:` or `examples:`");
    style_.sha256 = hash();
    return std::move(style_);
  }

 private:
  [[noreturn]] void fail(Mark mark, std::string what, std::string mend) const {
    sources_.fail(mark, std::move(what), std::move(mend));
  }

  void check_map(const Value& value, std::string_view what,
                 std::span<const std::string_view> keys) const {
    if (!value.is_map())
      fail(value.mark(), fmt::format("{} is a mapping, not {}", what, value.kind()),
           fmt::format("it has {}", fmt::join(keys, ", ")));
    for (const auto& entry : value.entries())
      if (!std::ranges::count(keys, entry.key))
        fail(entry.mark, fmt::format("unknown key {}", entry.key.substr(0, 80)),
             did_you_mean(entry.key, keys));
  }

  std::string text(const Value& value, std::string_view name) const {
    if (!value.is_text())
      fail(value.mark(), fmt::format("{} is {}, not text", name, value.kind()),
           "put text in quotes, or behind |");
    const std::string text(trim(value.scalar().get_ref<const std::string&>()));
    if (!is_utf8(text) || text.find('\0') != std::string::npos)
      fail(value.mark(), fmt::format("{} is not valid UTF-8 or holds a NUL character", name),
           "give it as UTF-8");
    if (text.empty()) fail(value.mark(), fmt::format("{} is empty", name), "give it a text");
    return text;
  }

  int64_t whole_number(const Value& value, std::string_view name, int64_t least,
                       int64_t most) const {
    if (value.is_scalar() && value.scalar().is_number_integer()) {
      const bool fits = !value.scalar().is_number_unsigned() ||
                        value.scalar().get<uint64_t>() <= static_cast<uint64_t>(most);
      const int64_t number = fits ? value.scalar().get<int64_t>() : most;
      if (fits && number >= least && number <= most) return number;
    }
    fail(value.mark(), fmt::format("{} is not a whole number from {} to {}", name, least, most),
         "correct it");
  }

  void read_key(const std::string& key, const Value& value) {
    if (value.is_null()) return;
    if (key == "description") {
      style_.description = text(value, key);
    } else if (key == "system") {
      style_.system = text(value, key);
    } else if (key == "request") {
      style_.request = text(value, key);
      const size_t place = style_.request.find("{prompt}");
      if (place == std::string::npos ||
          style_.request.find("{prompt}", place + 1) != std::string::npos)
        fail(value.mark(), "request does not hold {prompt} once", "write it as `Expand: {prompt}`");
    } else if (key == "examples") {
      read_examples(value);
    } else if (key == "limits") {
      read_limits(value);
    } else if (key == "sampling") {
      read_sampling(value);
    } else {
      style_.retries = checked("retries", value);
    }
  }

  void read_examples(const Value& value) {
    if (!value.is_list())
      fail(value.mark(), fmt::format("examples is a list, not {}", value.kind()),
           "write `- user: …` and below it `assistant: …`");
    if (value.items().size() > max_examples)
      fail(value.mark(), fmt::format("there are more than {} examples", max_examples),
           "a handful says as much");
    for (const auto& item : value.items()) {
      check_map(item, "an example", example_keys);
      const auto *user = item.find("user"), *assistant = item.find("assistant");
      if (!user || !assistant)
        fail(item.mark(), "an example has both user and assistant", "add the other one");
      style_.examples.push_back({text(user->value, "user"), text(assistant->value, "assistant")});
    }
  }

  void read_limits(const Value& value) {
    check_map(value, "limits", limit_keys);
    TextLimits& limits = style_.limits;
    for (const auto& [key, mark, given] : value.entries()) {
      if (given.is_null()) continue;
      if (key == "encoder") {
        const std::string name = text(given, key);
        if (!std::ranges::count(encoders, name))
          fail(given.mark(), fmt::format("unknown encoder {}", name.substr(0, 40)),
               did_you_mean(name, encoders));
        limits.encoder = name == "clip" ? TextEncoder::clip : TextEncoder::umt5;
      } else if (key == "max_tokens") {
        limits.max_tokens = whole_number(given, key, 8, most_words);
      } else {
        (key == "min_words" ? limits.min_words : limits.max_words) =
            whole_number(given, key, 1, most_words);
      }
    }
    if (limits.min_words > limits.max_words)
      fail(value.mark(),
           fmt::format("min_words is {}, above max_words, which is {}", limits.min_words,
                       limits.max_words),
           "correct one of them");
  }

  // By the job field of that name, so that a style and a spec take the same values.
  Json checked(std::string_view key, const Value& value) const {
    const std::string prefix = std::string(key) + " ";
    return sources_.at(value.mark(), prefix,
                       [&] { return check_field(*find_field(key), value.json()); });
  }

  void read_sampling(const Value& value) {
    check_map(value, "sampling", sampling_keys);
    for (const auto& [key, mark, given] : value.entries())
      if (!given.is_null()) set_sampling(style_.sampling, key, checked(key, given));
  }

  std::string hash() const {
    Json examples = Json::array();
    for (const auto& example : style_.examples)
      examples.push_back({example.user, example.assistant});
    return sha256_hex(canonical_json(
        {{"schema", 1},
         {"system", style_.system},
         {"request", style_.request},
         {"examples", std::move(examples)},
         {"limits",
          {style_.limits.min_words, style_.limits.max_words,
           encoders[static_cast<size_t>(style_.limits.encoder)], style_.limits.max_tokens}}}));
  }

  const Sources& sources_;
  Style style_;
};

std::optional<fs::path> style_file(const std::string& written, const fs::path& folder) {
  if (written.ends_with(".yaml") || written.find('/') != std::string::npos) return folder / written;
  for (const fs::path& there :
       {folder / (written + ".yaml"), folder / "styles" / (written + ".yaml")}) {
    std::error_code unreadable;
    if (fs::is_regular_file(there, unreadable)) return there;
  }
  return std::nullopt;
}

Style style_from_file(const fs::path& file, Mark mark, Sources& sources) {
  std::string text;
  try {
    text = read_file(file, max_style_bytes);
  } catch (const EnvironmentError& error) {
    sources.fail(mark, fmt::format("style {}: {}", file.string(), error.problem()),
                 "paths are relative to the spec's folder");
  }
  return read_style(text, file.stem().string(), sources.add(file.string()), sources);
}

}  // namespace

void set_sampling(TextSampling& sampling, std::string_view field, const Json& value) {
  if (field == "max_tokens")
    sampling.max_tokens = value;
  else if (field == "temperature")
    sampling.temperature = value;
  else if (field == "top_k")
    sampling.top_k = value;
  else if (field == "top_p")
    sampling.top_p = value;
  else if (field == "min_p")
    sampling.min_p = value;
  else if (field == "stop")
    sampling.stop = value.get<std::vector<std::string>>();
  else
    sampling.repetition_penalty = value;
}

Style read_style(std::string_view text, const std::string& name, uint32_t source,
                 const Sources& sources) {
  return StyleReader(sources, name).read(read_yaml(text, sources, source));
}

Style load_style(const std::string& written, Mark mark, const fs::path& folder, Sources& sources) {
  if (const auto file = style_file(written, folder)) return style_from_file(*file, mark, sources);
  std::vector<std::string_view> names;
  for (const auto& [name, text] : shipped_styles()) {
    if (name == written)
      return read_style(text, written, sources.add(fmt::format("style {}", name)), sources);
    names.push_back(name);
  }
  sources.fail(mark, fmt::format("unknown style {}", written.substr(0, 80)),
               did_you_mean(written, names));
}

}  // namespace backlot
