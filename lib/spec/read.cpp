#include <fmt/format.h>

#include <charconv>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "spec/document.h"
#include "spec/yaml.h"

namespace backlot {
namespace {

// A step of a --set path: a key, an index, or all entries of a list.
struct Step {
  enum class Kind { key, index, all } kind;
  std::string key;
  size_t index = 0;
};

// "jobs[0].prompt" -> jobs, 0, prompt
std::vector<Step> parse_path(std::string_view path) {
  const Problem malformed{"not a path to a value", "write it as jobs[0].steps or defaults.steps"};
  std::vector<Step> steps;
  for (const auto& part : split(path, '.')) {
    std::string_view rest = part;
    const size_t bracket = std::min(rest.find('['), rest.size());
    if (bracket == 0) throw malformed;
    steps.push_back({Step::Kind::key, std::string(rest.substr(0, bracket))});
    rest.remove_prefix(bracket);
    while (!rest.empty()) {
      const size_t close = rest.find(']');
      if (rest.front() != '[' || close == std::string_view::npos) throw malformed;
      const auto inside = rest.substr(1, close - 1);
      Step step{Step::Kind::all, ""};
      if (inside != "*") {
        step.kind = Step::Kind::index;
        const auto [end, error] =
            std::from_chars(inside.data(), inside.data() + inside.size(), step.index);
        if (error != std::errc{} || end != inside.data() + inside.size()) throw malformed;
      }
      steps.push_back(std::move(step));
      rest.remove_prefix(close + 1);
    }
  }
  return steps;
}

Value with(const Value& base, std::span<const Step> steps, const Value& value) {
  if (steps.empty()) return value;
  const Step& step = steps.front();
  if (step.kind == Step::Kind::key) {
    if (!base.is_map() && !base.is_null())
      throw Problem{fmt::format("{} belongs to a mapping, but there is {}", step.key, base.kind()),
                    "check the path"};
    auto entries = base.is_map() ? base.entries() : Value::Map{};
    const auto found = std::ranges::find(entries, step.key, &Value::Entry::key);
    if (found != entries.end())
      found->value = with(found->value, steps.subspan(1), value);
    else
      entries.push_back(
          {step.key, Mark{value.mark().source}, with(Value(), steps.subspan(1), value)});
    return {base.is_map() ? base.mark() : value.mark(), std::move(entries)};
  }
  if (!base.is_list()) throw Problem{"there is no list to take an entry of", "check the path"};
  auto items = base.items();
  if (step.kind == Step::Kind::index && step.index >= items.size())
    throw Problem{fmt::format("there is no entry {}; the list has {}, counted from 0", step.index,
                              items.size()),
                  "check the path"};
  for (size_t i = 0; i < items.size(); ++i)
    if (step.kind == Step::Kind::all || i == step.index)
      items[i] = with(items[i], steps.subspan(1), value);
  return {base.mark(), std::move(items)};
}

// Keys beside the job fields whose values are text, whatever it looks like.
constexpr std::string_view text_keys[] = {"name", "model",        "preset", "task",   "id",
                                          "dir",  "prompts_from", "format", "expand", "codec"};

Value read_assigned(std::string_view text, std::span<const Step> steps, const Sources& sources,
                    Mark mark) {
  const Step& last = steps.back();
  const bool in_job = steps.front().key == "jobs" || steps.front().key == "defaults";
  const bool in_scene =
      std::any_of(steps.begin(), steps.end() - 1, [](const Step& s) { return s.key == "scenes"; });
  const Field* field = in_job && (steps.size() < 4 || in_scene) && last.kind == Step::Kind::key
                           ? find_field(last.key)
                           : nullptr;
  if (field)
    return value_from_json(
        sources.at(mark, last.key + " ", [&] { return field_from_text(*field, text); }), mark);
  if (std::ranges::count(text_keys, last.key))
    return {mark, text == "null" ? Json() : Json(std::string(text))};
  if (trim(text).empty()) return {mark, Json()};
  const Value value = read_yaml(text, sources, mark.source);
  return value.is_scalar() ? Value(mark, value.scalar()) : value;
}

// Values of the quick form keep the option that gave them as their place.
Value quick_value(const std::string& key, const Json& given, Sources& sources) {
  // Texts of scenes come one by one.
  std::string option = "--" + (key == "scenes" && given.is_array() ? "scene" : key);
  std::ranges::replace(option, '_', '-');
  const Mark mark{sources.add(option)};
  const Field* field = find_field(key);
  if (!field || !given.is_string()) return value_from_json(given, mark);
  return value_from_json(
      sources.at(mark, key + " ",
                 [&] { return field_from_text(*field, given.get_ref<const std::string&>()); }),
      mark);
}

// What the run is named after.
std::string name_of_quick(const Json& fields, const std::vector<std::string>& prompts) {
  if (!prompts.empty()) return prompts.front();
  const Json scenes = fields.value("scenes", Json());
  const Json first = scenes.is_array() && !scenes.empty() ? scenes[0] : Json();
  const Json prompt = first.is_object() ? first.value("prompt", Json()) : first;
  if (prompt.is_string()) return prompt;
  return scenes.is_null() ? "prompts" : "scenes";
}

}  // namespace

Value apply_set(const Value& root, const std::string& assignment, Sources& sources) {
  const size_t equals = assignment.find('=');
  const Mark mark{sources.add("--set " + assignment.substr(0, std::min<size_t>(equals, 100)))};
  if (equals == std::string::npos)
    sources.fail(mark, "not an assignment", "write path=value, as in defaults.steps=4");
  return sources.at(mark, "", [&] {
    const auto steps = parse_path(std::string_view(assignment).substr(0, equals));
    return with(
        root, steps,
        read_assigned(std::string_view(assignment).substr(equals + 1), steps, sources, mark));
  });
}

SpecDocument read_spec(const fs::path& file, const std::vector<std::string>& sets) {
  Sources sources;
  const Mark whole{sources.add(file.string())};
  std::error_code unknown;
  const uint64_t bytes = fs::is_regular_file(file, unknown) ? fs::file_size(file, unknown) : 0;
  std::string text;
  try {
    // One byte more than allowed is enough to be refused by read_yaml in its own words.
    if (bytes <= max_spec_bytes) text = read_file(file, max_spec_bytes);
  } catch (const EnvironmentError& error) {
    sources.fail(whole, error.problem(), error.mend());
  }
  if (bytes > max_spec_bytes)
    sources.fail(whole, fmt::format("larger than {}", human_bytes(max_spec_bytes)),
                 "put long lists into a file and name it in prompts_from");
  Value root = read_yaml(text, sources, whole.source);
  for (const auto& assignment : sets) root = apply_set(root, assignment, sources);
  const fs::path folder = fs::absolute(file).parent_path();
  return document_from(root, std::move(sources), folder, file.stem().string());
}

SpecDocument quick_spec(const Json& fields, const std::vector<std::string>& prompts,
                        const std::vector<std::string>& sets) {
  Sources sources;
  const Mark whole{sources.add("command line")};
  constexpr std::string_view spec_keys[] = {"model", "name", "task", "preset", "output", "enhance"};
  constexpr std::string_view job_keys[] = {"prompts_from", "matrix", "expand"};
  Value::Map top, defaults, job;
  for (const auto& [key, given] : fields.items()) {
    Value value = quick_value(key, given, sources);
    const Mark mark = value.mark();
    auto& place = std::ranges::count(spec_keys, key)  ? top
                  : std::ranges::count(job_keys, key) ? job
                                                      : defaults;
    place.push_back({key, mark, std::move(value)});
  }
  const bool has_other = fields.contains("prompts_from") || fields.contains("matrix") ||
                         fields.contains("prompt") || fields.contains("scenes");
  if (prompts.empty() && !has_other)
    sources.fail(whole, "nothing to make", "give --prompt TEXT, or a spec");
  Value::List jobs;
  const Mark prompt_mark{sources.add("--prompt")};
  for (const auto& prompt : prompts) {
    Value::Map with_prompt = job;
    with_prompt.push_back({"prompt", prompt_mark, Value(prompt_mark, Json(prompt))});
    jobs.push_back(Value(prompt_mark, std::move(with_prompt)));
  }
  if (prompts.empty()) jobs.push_back(Value(whole, std::move(job)));
  top.push_back({"defaults", whole, Value(whole, std::move(defaults))});
  top.push_back({"jobs", whole, Value(whole, std::move(jobs))});
  Value root(whole, std::move(top));
  for (const auto& assignment : sets) root = apply_set(root, assignment, sources);
  return document_from(root, std::move(sources), fs::current_path(),
                       slug(name_of_quick(fields, prompts), 40));
}

}  // namespace backlot
