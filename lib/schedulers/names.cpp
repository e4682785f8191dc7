#include "schedulers/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "schedulers/config_table.h"

namespace backlot {
namespace {

constexpr std::string_view folder_file = "scheduler/scheduler_config.json";

// Whose mistake a wrong config is: the spec's author's, or the model folder's.
enum class Origin { spec, folder };

[[noreturn]] void fail(Origin origin, std::string what, std::string mend) {
  if (origin == Origin::spec) throw SpecError("", std::move(what), std::move(mend));
  throw LoadError(std::string(folder_file), std::move(what), std::move(mend));
}

std::string joined(const std::vector<std::string_view>& words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& known) {
  const auto near = nearest(word, known);
  if (near.empty()) return "known are " + joined(known);
  return fmt::format("did you mean '{}'?", near);
}

const SchedulerClass& find_class(std::string_view name, Origin origin) {
  std::vector<std::string_view> known;
  for (const auto& candidate : scheduler_classes()) {
    if (candidate.name == name) return candidate;
    known.push_back(candidate.name);
  }
  fail(origin, fmt::format("unknown scheduler class '{}'", name), did_you_mean(name, known));
}

const SchedulerName& find_name(std::string_view name) {
  for (const auto& candidate : scheduler_name_table())
    if (candidate.name == name) return candidate;
  fail(Origin::spec, fmt::format("unknown scheduler '{}'", name),
       did_you_mean(name, scheduler_names()));
}

std::string_view kind_name(KeyKind kind) {
  switch (kind) {
    case KeyKind::integer:
      return "a whole number of at least 0";
    case KeyKind::number:
      return "a number";
    case KeyKind::boolean:
      return "true or false";
    case KeyKind::text:
      return "text";
    case KeyKind::numbers:
      return "a list of numbers";
    case KeyKind::integers:
      return "a list of whole numbers";
  }
  return "";
}

bool is_kind(const Json& value, KeyKind kind) {
  const auto all = [&](bool (*test)(const Json&)) {
    return value.is_array() && std::all_of(value.begin(), value.end(), test);
  };
  switch (kind) {
    case KeyKind::integer:
      return value.is_number_integer() && value >= 0;
    case KeyKind::number:
      return value.is_number() && std::isfinite(value.get<double>());
    case KeyKind::boolean:
      return value.is_boolean();
    case KeyKind::text:
      return value.is_string();
    case KeyKind::numbers:
      return all([](const Json& x) { return x.is_number(); });
    case KeyKind::integers:
      return all([](const Json& x) { return x.is_number_integer(); });
  }
  return false;
}

// `value` as the class reads it; throws if the key cannot have it.
Json accept(const ConfigKey& key, const Json& value, Origin origin) {
  if (value.is_null() && key.preset.is_null()) return value;
  // Older folders write null for a flag that is off.
  if (value.is_null() && key.kind == KeyKind::boolean) return false;
  if (key.fixed && value != key.preset)
    fail(origin, fmt::format("{}: {} is not implemented", key.name, value.dump()),
         fmt::format("leave it at {}, or choose another scheduler", key.preset.dump()));
  if (!is_kind(value, key.kind))
    fail(origin, fmt::format("{}: {} is not {}", key.name, value.dump(), kind_name(key.kind)),
         key.preset.is_null() ? "correct it or leave it out"
                              : fmt::format("the default is {}", key.preset.dump()));
  if (key.kind != KeyKind::text || key.choices.empty()) return value;
  const auto text = value.get<std::string>();
  for (const auto& [word, meaning] : key.aliases)
    if (word == text) return meaning;
  if (std::find(key.choices.begin(), key.choices.end(), text) == key.choices.end())
    fail(origin, fmt::format("{}: '{}' is not implemented", key.name, text),
         "choose one of " + joined(key.choices));
  return value;
}

// Rules that span keys; the reference raises, or computes NaN, where these fail.
void check_together(const Json& config, Origin origin) {
  const auto is = [&](const char* key, const auto& value) {
    return config.value(key, Json()) == value;
  };
  const auto need = [&](bool fine, std::string what, std::string mend) {
    if (!fine) fail(origin, std::move(what), std::move(mend));
  };
  const auto train = config.at("num_train_timesteps").get<int64_t>();
  need(train >= 1 && train <= 1'000'000,
       fmt::format("num_train_timesteps: {} is out of range", train),
       "models are trained with 1000");
  need(!(is("use_karras_sigmas", true) && is("use_exponential_sigmas", true)),
       "use_karras_sigmas and use_exponential_sigmas exclude each other", "choose one");
  if (config.contains("solver_order")) {
    const auto order = config.at("solver_order").get<int64_t>();
    const int64_t highest = is("algorithm_type", "sde-dpmsolver") ? 2 : 3;
    need(order >= 1 && order <= highest,
         fmt::format("solver_order: {} is not between 1 and {}", order, highest), "the usual is 2");
  }
  if (is("final_sigmas_type", "zero"))
    need(!is("algorithm_type", "dpmsolver") && !is("algorithm_type", "sde-dpmsolver"),
         fmt::format("final_sigmas_type: 'zero' does not go with algorithm_type '{}'",
                     config.value("algorithm_type", "")),
         "set final_sigmas_type to 'sigma_min'");
  if (is("prediction_type", "flow_prediction"))
    need(!is("predict_x0", false) && !is("algorithm_type", "dpmsolver") &&
             !is("algorithm_type", "sde-dpmsolver"),
         "prediction_type: 'flow_prediction' needs an algorithm that predicts x0",
         "set predict_x0 to true, or algorithm_type to 'dpmsolver++'");
  if (config.contains("use_flow_sigmas") && !config.value("shift_terminal", Json()).is_null())
    need(is("use_flow_sigmas", true), "shift_terminal needs use_flow_sigmas", "leave it out");
  if (config.contains("original_inference_steps")) {
    const auto original = config.at("original_inference_steps").get<int64_t>();
    need(original >= 1 && original <= train,
         fmt::format("original_inference_steps: {} is not between 1 and {}", original, train),
         "the usual is 50");
  }
  if (const auto trained = config.value("trained_betas", Json()); !trained.is_null())
    need(static_cast<int64_t>(trained.size()) == train,
         fmt::format("trained_betas has {} entries for {} timesteps", trained.size(), train),
         "give num_train_timesteps of them");
}

// All keys of `family`, from `config` where it has them, else the class default.
Json complete(const SchedulerClass& family, const Json& config, Origin origin) {
  Json full = {{"_class_name", family.name}};
  for (const auto& key : family.keys) {
    const auto found = config.find(key.name);
    full[std::string(key.name)] = found == config.end() ? key.preset : accept(key, *found, origin);
  }
  check_together(full, origin);
  return full;
}

// A mapping in a spec: unlike in a folder, a key that the class does not know is a mistake.
Json resolve_mapping(const Json& choice) {
  const auto name = choice.find("_class_name");
  if (name == choice.end() || !name->is_string())
    fail(Origin::spec, "the scheduler's mapping has no _class_name",
         "name a class such as EulerDiscreteScheduler");
  const auto& family = find_class(name->get<std::string>(), Origin::spec);
  std::vector<std::string_view> known;
  for (const auto& key : family.keys) known.push_back(key.name);
  for (const auto& [key, value] : choice.items())
    if (key.front() != '_' && std::find(known.begin(), known.end(), key) == known.end())
      fail(Origin::spec, fmt::format("{} has no key '{}'", family.name, key),
           did_you_mean(key, known));
  return complete(family, choice, Origin::spec);
}

}  // namespace

std::vector<std::string_view> scheduler_names() {
  std::vector<std::string_view> names;
  for (const auto& entry : scheduler_name_table()) names.push_back(entry.name);
  return names;
}

void check_scheduler(const Json& choice) {
  if (choice.is_null()) return;
  if (choice.is_string()) {
    find_name(choice.get<std::string>());
  } else if (choice.is_object()) {
    resolve_mapping(choice);
  } else {
    fail(Origin::spec, "a scheduler is a name or a mapping, not " + choice.dump(),
         "known names are " + joined(scheduler_names()));
  }
}

Json resolve_scheduler_config(const Json& choice, const Json& folder_config) {
  check_scheduler(choice);
  if (choice.is_object()) return resolve_mapping(choice);
  if (!folder_config.is_object())
    fail(Origin::folder, "is not a JSON object", "use a complete model folder");
  if (choice.is_string()) {
    const auto& entry = find_name(choice.get<std::string>());
    Json config = folder_config;
    config.update(entry.keys);
    return complete(find_class(entry.class_name, Origin::spec), config, Origin::folder);
  }
  const auto name = folder_config.find("_class_name");
  if (name == folder_config.end() || !name->is_string())
    fail(Origin::folder, "has no _class_name", "use a complete model folder, or name a scheduler");
  return complete(find_class(name->get<std::string>(), Origin::folder), folder_config,
                  Origin::folder);
}

Json parse_scheduler_config(std::string_view text, std::string_view where) {
  std::string plain;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
    const auto rest = text.substr(i);
    size_t skip = 0;
    for (const std::string_view token : {"-Infinity", "Infinity", "NaN"})
      if (!quoted && skip == 0 && rest.substr(0, token.size()) == token) skip = token.size();
    if (skip == 0) {
      plain += text[i];
    } else {
      plain += "null";
      i += skip - 1;
    }
  }
  Json config = Json::parse(plain, nullptr, false);
  if (!config.is_object())
    throw LoadError(std::string(where), "is not a JSON object", "use a complete model folder");
  return config;
}

}  // namespace backlot
