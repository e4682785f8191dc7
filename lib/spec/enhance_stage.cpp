#include "spec/enhance_stage.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace backlot {
namespace {

constexpr std::string_view own_keys[] = {"model", "style", "variants", "seed"};
constexpr std::string_view field_keys[] = {"max_tokens", "temperature",        "top_k",   "top_p",
                                           "min_p",      "repetition_penalty", "retries", "stop"};
constexpr int64_t most_variants = 1000;

std::vector<std::string_view> all_keys() {
  std::vector<std::string_view> keys(std::begin(own_keys), std::end(own_keys));
  keys.insert(keys.end(), std::begin(field_keys), std::end(field_keys));
  return keys;
}

Json checked(std::string_view key, const Value& value, const Sources& sources) {
  const std::string prefix = std::string(key) + " ";
  return sources.at(value.mark(), prefix,
                    [&] { return check_field(*find_field(key), value.json()); });
}

std::string model_of(const Value& value, const Sources& sources) {
  if (!value.is_text() || value.scalar() == "")
    sources.fail(value.mark(), "model is not the name or path of a language model",
                 "name its folder or its .gguf file");
  return value.scalar();
}

int64_t variants_of(const Value& value, const Sources& sources) {
  if (value.is_scalar() && value.scalar().is_number_unsigned() && value.scalar() >= 1 &&
      value.scalar() <= most_variants)
    return value.scalar();
  sources.fail(value.mark(),
               fmt::format("variants is not a whole number from 1 to {}", most_variants),
               "say how many texts to make of each prompt");
}

}  // namespace

EnhanceStage read_enhance_stage(const Value& value, EnhanceStage base, const Sources& sources) {
  EnhanceStage stage = std::move(base);
  stage.mark = value.mark();
  if (!value.is_map())
    sources.fail(value.mark(), fmt::format("enhance is a mapping, not {}", value.kind()),
                 "write `enhance: {model: DIR, style: cinematic}`");
  for (const auto& [key, mark, given] : value.entries()) {
    const bool is_field = std::ranges::count(field_keys, key) > 0;
    if (!is_field && !std::ranges::count(own_keys, key)) {
      const auto keys = all_keys();
      const std::string near = nearest(key, keys);
      sources.fail(mark, fmt::format("unknown key {}", key.substr(0, 80)),
                   near.empty() ? fmt::format("enhance has {}", fmt::join(keys, ", "))
                                : fmt::format("did you mean {}?", near));
    }
    if (is_field) {
      stage.fields.set({find_field(key), checked(key, given, sources), given.mark()});
    } else if (given.is_null()) {
      continue;
    } else if (key == "model") {
      stage.model = model_of(given, sources);
      stage.model_mark = given.mark();
    } else if (key == "style") {
      stage.style = checked(key, given, sources);
      stage.style_mark = given.mark();
    } else if (key == "variants") {
      stage.variants = variants_of(given, sources);
    } else {
      stage.seed = checked(key, given, sources);
    }
  }
  if (stage.model.empty())
    sources.fail(stage.mark, "no language model is named", "add `model: DIR` to enhance");
  if (stage.seed + static_cast<uint64_t>(stage.variants - 1) < stage.seed)
    sources.fail(stage.mark, "seed + variants is over 2^64-1", "give a smaller seed");
  return stage;
}

}  // namespace backlot
