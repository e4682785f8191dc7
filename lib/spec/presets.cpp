#include "spec/presets.h"

#include <fmt/format.h>

#include "base/files.h"
#include "base/text.h"
#include "base/units.h"
#include "spec/rows.h"
#include "spec/yaml.h"

namespace backlot {
namespace {

// The mapping below `presets:`; throws SpecError if the file has another shape.
Value presets_of(std::string_view text, uint32_t source, const Sources& sources) {
  const Value root = read_yaml(text, sources, source);
  const auto* presets = root.find("presets");
  if (!presets || !presets->value.is_map() || root.entries().size() != 1)
    sources.fail(root.mark(), "not a table of presets", "write `presets: {name: {field: value}}`");
  return presets->value;
}

std::optional<Task> task_of(const Value& preset, const Sources& sources) {
  const auto* entry = preset.find("task");
  if (!entry) return std::nullopt;
  for (const Task task : {Task::text_to_image, Task::text_to_video})
    if (entry->value.is_scalar() && entry->value.scalar() == Json(task_name(task))) return task;
  sources.fail(entry->value.mark(), "task is none that presets are for",
               "give text-to-image or text-to-video");
}

Preset preset_of(const Value& preset, const Sources& sources, std::optional<Task> wanted) {
  if (!preset.is_map())
    sources.fail(preset.mark(), fmt::format("a preset is a mapping, not {}", preset.kind()),
                 "write `name: {field: value}`");
  constexpr std::string_view others[] = {"description", "max_bytes", "task", "enhance"};
  Preset out;
  out.task = task_of(preset, sources).value_or(wanted.value_or(Task::text_to_image));
  for (const auto& [key, mark, value] : preset.entries()) {
    if (key == "description" || key == "task") continue;
    if (key == "enhance") {
      out.enhance = read_enhance_stage(value, {}, sources);
      continue;
    }
    if (key == "max_bytes") {
      if (!value.is_null())
        out.max_bytes = sources.at(value.mark(), "max_bytes ", [&] { return read_size(value); });
      continue;
    }
    const Field& field = known_field(key, mark, sources, out.task, others);
    out.fields.set(
        {&field,
         sources.at(value.mark(), key + " ", [&] { return check_field(field, value.json()); }),
         value.mark()});
  }
  return out;
}

}  // namespace

uint64_t read_size(const Value& value) {
  const Problem problem{
      fmt::format("is {}", value.is_scalar() ? value.scalar().dump().substr(0, 40) : value.kind()),
      "give a number of bytes, or a size such as 10MB or 10MiB"};
  if (!value.is_scalar()) throw problem;
  if (value.scalar().is_number_unsigned() && value.scalar() > 0) return value.scalar();
  if (!value.is_text()) throw problem;
  const auto bytes = parse_bytes(value.scalar().get<std::string>());
  if (!bytes) throw problem;
  return *bytes;
}

Preset load_preset(const std::string& name, Mark mark, const fs::path& folder, Sources& sources,
                   std::optional<Task> wanted) {
  std::vector<Value> tables;
  const fs::path beside = folder / "presets.yaml";
  if (fs::exists(beside)) {
    const uint32_t source = sources.add(beside.string());
    tables.push_back(presets_of(read_file(beside, max_spec_bytes), source, sources));
  }
  tables.push_back(presets_of(shipped_presets(), sources.add("presets"), sources));
  std::vector<std::string_view> names;
  for (const auto& table : tables)
    for (const auto& entry : table.entries()) {
      if (entry.key == name) {
        Preset preset = preset_of(entry.value, sources, wanted);
        if (wanted && *wanted != preset.task)
          sources.fail(mark, fmt::format("the preset {} is for {}", name, task_name(preset.task)),
                       fmt::format("the task here is {}: take another preset, or leave out task",
                                   task_name(*wanted)));
        return preset;
      }
      if (!std::ranges::count(names, entry.key)) names.push_back(entry.key);
    }
  const std::string near = nearest(name, names);
  sources.fail(mark, fmt::format("unknown preset {}", name.substr(0, 80)),
               near.empty() ? fmt::format("there are {}", fmt::join(names, ", "))
                            : fmt::format("did you mean {}?", near));
}

}  // namespace backlot
