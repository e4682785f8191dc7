#include "spec/document.h"

#include <fmt/format.h>

#include <unordered_map>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "spec/alternatives.h"
#include "spec/output_names.h"
#include "spec/output_settings.h"
#include "spec/presets.h"
#include "spec/scenes.h"
#include "spec/yaml.h"

namespace backlot {
namespace {

constexpr std::string_view top_keys[] = {"version",  "name", "task",   "model",  "preset",
                                         "defaults", "jobs", "output", "enhance"};
constexpr std::string_view job_keys[] = {"id", "matrix", "expand", "prompts_from", "enhance"};
constexpr std::string_view expansions[] = {"product", "zip"};
constexpr std::string_view task_names[] = {"text-to-image", "text-to-video", "enhance",
                                           "analyze-video", "image-to-3d"};

std::string did_you_mean(std::string_view word, std::span<const std::string_view> known,
                         std::string otherwise) {
  const std::string near = nearest(word, known);
  return near.empty() ? otherwise : fmt::format("did you mean {}?", near);
}

class DocumentReader {
 public:
  DocumentReader(Sources sources, const fs::path& folder) {
    doc_.sources = std::move(sources);
    doc_.folder = folder;
  }

  SpecDocument read(const Value& root, const std::string& default_name) {
    doc_.mark = root.mark();
    need_map(root, "a spec", "start with `version: 1`, `model: …` and `jobs:`");
    read_task(root);
    check_top_keys(root);
    read_version(root);
    read_name(root, default_name);
    read_model(root);
    if (const auto* preset = present(root, "preset")) read_preset(*preset);
    doc_.output.format = output_formats(doc_.task).front();
    if (const auto* defaults = present(root, "defaults")) {
      need_map(defaults->value, "defaults", "write `defaults: {steps: 20}`");
      for (const auto& entry : defaults->value.entries()) doc_.defaults.set(read_field(entry, {}));
    }
    if (const auto* output = present(root, "output"))
      read_output(output->value, doc_.task, doc_.sources, doc_.output, doc_.output_dir);
    if (const auto* enhance = root.find("enhance")) {
      if (!enhance->value.is_null()) refuse_stage(enhance->mark);
      read_enhance(enhance->value, doc_.enhance);
    }
    read_jobs(root);
    return std::move(doc_);
  }

 private:
  [[noreturn]] void fail(Mark mark, std::string what, std::string mend) const {
    doc_.sources.fail(mark, std::move(what), std::move(mend));
  }

  // The entry, unless it is missing or null.
  static const Value::Entry* present(const Value& map, std::string_view key) {
    const auto* entry = map.find(key);
    return entry && !entry->value.is_null() ? entry : nullptr;
  }

  void need_map(const Value& value, std::string_view name, std::string mend) const {
    if (!value.is_map())
      fail(value.mark(), fmt::format("{} is a mapping, not {}", name, value.kind()),
           std::move(mend));
  }

  std::string text_of(const Value::Entry& entry, std::string_view name) const {
    return backlot::text_of(entry, name, doc_.sources);
  }

  FieldValue read_field(const Value::Entry& entry, std::span<const std::string_view> others) const {
    const Field& field = known_field(entry.key, entry.mark, doc_.sources, doc_.task, others);
    return checked(field, entry.value);
  }

  // With the places of the scenes, for what can only be said of them once the job is whole.
  FieldValue checked_scenes(const Field& field, const Value& value) const try {
    FieldValue scenes{&field, scenes_from(value), value.mark()};
    scenes.entries = value.items();
    return scenes;
  } catch (const ProblemAt& problem) {
    fail(problem.mark, "scenes " + problem.what, problem.mend);
  }

  FieldValue checked(const Field& field, const Value& value) const {
    if (field.kind == FieldKind::scenes && !value.is_null()) return checked_scenes(field, value);
    const std::string prefix = std::string(field.name) + " ";
    return {&field,
            doc_.sources.at(value.mark(), prefix,
                            [&] {
                              Json checked = check_field(field, value.json());
                              if (field.alternatives && checked.is_string())
                                Alternatives{checked.get_ref<const std::string&>()};
                              return checked;
                            }),
            value.mark()};
  }

  void check_top_keys(const Value& root) const {
    for (const auto& [key, mark, value] : root.entries()) {
      if (std::ranges::count(top_keys, key)) continue;
      if (const Field* field = find_field(key); field && field->applies_to(doc_.task))
        fail(mark, fmt::format("{} is a field of jobs", key),
             "move it under `defaults:` or into a job");
      fail(mark, fmt::format("unknown key {}", key.substr(0, 80)),
           did_you_mean(key, top_keys, fmt::format("there are {}", fmt::join(top_keys, ", "))));
    }
  }

  void read_version(const Value& root) const {
    const auto* version = present(root, "version");
    if (version && !(version->value.is_scalar() && version->value.scalar() == Json(1)))
      fail(version->value.mark(),
           fmt::format("version is {}, which this backlot can't read",
                       version->value.is_scalar() ? version->value.scalar().dump().substr(0, 40)
                                                  : version->value.kind()),
           "write `version: 1`");
  }

  void read_task(const Value& root) {
    const auto* entry = present(root, "task");
    if (!entry) return;
    const std::string task = text_of(*entry, "task");
    task_given_ = true;
    for (const Task known : {Task::text_to_image, Task::text_to_video, Task::enhance})
      if (task == task_name(known)) {
        doc_.task = known;
        return;
      }
    if (std::ranges::count(task_names, task))
      fail(entry->value.mark(), fmt::format("the task {} is not available in this version", task),
           "use text-to-image, text-to-video or enhance, or a version of backlot that has it");
    fail(entry->value.mark(), fmt::format("unknown task {}", task.substr(0, 80)),
         did_you_mean(task, task_names, "use text-to-image or text-to-video"));
  }

  void read_name(const Value& root, const std::string& default_name) {
    doc_.name = safe_component(default_name, 100);
    if (const auto* entry = present(root, "name")) {
      doc_.name = text_of(*entry, "name");
      doc_.sources.at(entry->value.mark(), "name ", [&] { check_component(doc_.name); });
    }
  }

  void refuse_stage(Mark mark) const {
    if (doc_.task == Task::enhance)
      fail(mark, "enhance is a stage before pictures, and this task makes texts",
           "put what is in it into `defaults:` or the jobs, and its model to the top");
  }

  void read_model(const Value& root) {
    const auto* entry = present(root, "model");
    if (!entry)
      fail(doc_.mark, "no model is named",
           "name a model's folder: `model: DIR` in a spec, --model DIR on the command line");
    doc_.model = text_of(*entry, "model");
    doc_.model_mark = entry->value.mark();
    if (doc_.model.empty())
      fail(doc_.model_mark, "model is an empty path", "name a model's folder");
  }

  void read_preset(const Value::Entry& entry) {
    Preset preset =
        load_preset(text_of(entry, "preset"), entry.value.mark(), doc_.folder, doc_.sources,
                    task_given_ ? std::optional(doc_.task) : std::nullopt);
    doc_.task = preset.task;
    doc_.defaults = std::move(preset.fields);
    if (doc_.task != Task::enhance) doc_.output.max_bytes = preset.max_bytes;
    if (preset.enhance) refuse_stage(entry.mark);
    doc_.enhance = std::move(preset.enhance);
  }

  void read_jobs(const Value& root) {
    const auto* jobs = present(root, "jobs");
    if (!jobs) fail(doc_.mark, "no jobs", "add `jobs:` with at least one `- prompt: …`");
    if (!jobs->value.is_list() || jobs->value.items().empty())
      fail(jobs->value.mark(),
           jobs->value.is_list() ? "jobs is empty"
                                 : fmt::format("jobs is a list, not {}", jobs->value.kind()),
           "write `jobs:` and below it `- prompt: …`");
    std::unordered_map<std::string, Mark> ids;
    for (const auto& item : jobs->value.items()) {
      doc_.jobs.push_back(read_job(item, doc_.jobs.size() + 1));
      const Job& job = doc_.jobs.back();
      const auto [earlier, fresh] = ids.try_emplace(job.id, job.mark);
      if (!fresh)
        fail(job.mark,
             fmt::format("the id {} is taken by the job at {}", job.id,
                         doc_.sources.where(earlier->second)),
             "give it another id");
    }
  }

  Job read_job(const Value& value, size_t number) {
    need_map(value, "a job",
             value.is_text() ? fmt::format("write `- prompt: {}`",
                                           value.scalar().get<std::string>().substr(0, 60))
                             : "write `- prompt: …`");
    Job job{.id = fmt::format("job-{}", number), .mark = value.mark(), .enhance = doc_.enhance};
    const Value::Entry *matrix = nullptr, *table = nullptr;
    for (const auto& entry : value.entries()) {
      if (entry.key == "id")
        read_id(entry, job);
      else if (entry.key == "matrix")
        matrix = &entry;
      else if (entry.key == "expand")
        read_expand(entry, job);
      else if (entry.key == "prompts_from")
        table = &entry;
      else if (entry.key == "enhance")
        read_job_enhance(entry, job);
      else if (std::ranges::count(top_keys, entry.key))
        fail(entry.mark, fmt::format("{} belongs to the whole spec, not to a job", entry.key),
             "move it to the top");
      else
        job.fields.set(read_field(entry, job_keys));
    }
    if (table && !table->value.is_null()) read_table(*table, job);
    if (matrix && !matrix->value.is_null()) read_matrix(*matrix, job);
    return job;
  }

  void read_job_enhance(const Value::Entry& entry, Job& job) const {
    refuse_stage(entry.mark);
    read_enhance(entry.value, job.enhance);
  }

  // Laid over what is there: a preset's for a spec, a spec's for a job. null or false: prompts are
  // taken as they are.
  void read_enhance(const Value& value, std::optional<EnhanceStage>& stage) const {
    const auto base = std::exchange(stage, std::nullopt).value_or(EnhanceStage{});
    if (value.is_null() || (value.is_scalar() && value.scalar() == Json(false))) return;
    stage = read_enhance_stage(value, base, doc_.sources);
  }

  void read_id(const Value::Entry& entry, Job& job) const {
    if (entry.value.is_null()) return;
    job.id = text_of(entry, "id");
    job.named = true;
    if (job.id.empty() || job.id.size() > 1000)
      fail(entry.value.mark(), "id is empty or longer than 1000 bytes", "give a short name");
  }

  void read_expand(const Value::Entry& entry, Job& job) const {
    job.expand_mark = entry.value.mark();
    if (entry.value.is_null()) return;
    const std::string how = text_of(entry, "expand");
    if (!std::ranges::count(expansions, how))
      fail(entry.value.mark(), fmt::format("expand is {}", how.substr(0, 40)),
           did_you_mean(how, expansions, "use product or zip"));
    job.zip = how == "zip";
  }

  void read_table(const Value::Entry& entry, Job& job) {
    job.prompts_from = text_of(entry, "prompts_from");
    job.rows =
        read_rows(doc_.folder / *job.prompts_from, entry.value.mark(), doc_.sources, doc_.task);
    const auto* prompt = job.fields.find("prompt");
    const bool every_row_has_one = std::ranges::all_of(
        job.rows, [](const Row& row) { return row.fields.find("prompt") != nullptr; });
    if (prompt && every_row_has_one)
      fail(prompt->mark, "prompt is given here and in every row of prompts_from",
           "remove one of the two");
  }

  void read_matrix(const Value::Entry& entry, Job& job) const {
    need_map(entry.value, "matrix", "write `matrix: {seed: [1, 2], steps: [10, 20]}`");
    for (const auto& [key, mark, values] : entry.value.entries()) {
      const Field& field = known_field(key, mark, doc_.sources, doc_.task);
      if (!can_vary(field))
        fail(mark, fmt::format("{} can't vary in a matrix", key), "give it in the job itself");
      if (!values.is_list() || values.items().empty())
        fail(values.mark(), fmt::format("matrix.{} is not a list of values", key),
             fmt::format("write `{}: [a, b]`", key));
      if (job.fields.find(&field))
        fail(mark, fmt::format("{} is given both in the job and in its matrix", key),
             "remove one of the two");
      for (const auto& row : job.rows)
        if (const auto* cell = row.fields.find(&field))
          fail(mark,
               fmt::format("{} is given both in the matrix and at {}", key,
                           doc_.sources.where(cell->mark)),
               "remove one of the two");
      Axis axis{.field = &field, .mark = mark, .values = {}};
      for (const auto& value : values.items()) axis.values.push_back(checked(field, value));
      job.matrix.push_back(std::move(axis));
    }
  }

  SpecDocument doc_;
  bool task_given_ = false;
};

}  // namespace

SpecDocument document_from(const Value& root, Sources sources, const fs::path& folder,
                           const std::string& default_name) {
  return DocumentReader(std::move(sources), folder).read(root, default_name);
}

}  // namespace backlot
