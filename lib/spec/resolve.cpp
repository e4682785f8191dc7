#include "spec/resolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/install.h"
#include "base/sha256.h"

namespace backlot {
namespace {

// As written if that is relative; else the last part alone, which says nothing about the machine.
std::string shown_path(const std::string& written) {
  const fs::path path(written);
  if (path.is_relative() && !written.starts_with('~')) return written;
  const fs::path trimmed = path.has_filename() ? path : path.parent_path();
  return trimmed.filename().string();
}

Json shown(const FieldValue& value) {
  const bool path =
      (value.field->kind == FieldKind::folder || value.field->kind == FieldKind::style) &&
      value.value.is_string();
  return path ? Json(shown_path(value.value)) : value.value;
}

void put(Json& out, const FieldValues& fields) {
  for (const auto& field : job_fields())
    if (const auto* value = fields.find(&field)) out[std::string(field.name)] = shown(*value);
}

Json resolved_enhance(const EnhanceStage& stage) {
  Json out = {{"model", shown_path(stage.model)},
              {"style", shown_path(stage.style)},
              {"variants", stage.variants},
              {"seed", stage.seed}};
  put(out, stage.fields);
  return out;
}

// Each job says its own, so that the resolved spec has no stage at its top.
Json resolved_job(const Job& job) {
  Json out = Json::object();
  if (job.named) out["id"] = job.id;
  put(out, job.fields);
  if (job.prompts_from) out["prompts_from"] = shown_path(*job.prompts_from);
  for (const auto& axis : job.matrix) {
    Json values = Json::array();
    for (const auto& value : axis.values) values.push_back(shown(value));
    out["matrix"][std::string(axis.field->name)] = std::move(values);
  }
  if (job.zip) out["expand"] = "zip";
  if (job.enhance) out["enhance"] = resolved_enhance(*job.enhance);
  return out;
}

}  // namespace

fs::path find_model(const SpecDocument& document, const std::string& written, Mark mark) {
  const fs::path here = (document.folder / written).lexically_normal();
  std::error_code unreadable;
  if (fs::exists(here, unreadable)) return here;
  const char* models = std::getenv("BACKLOT_MODELS");
  const bool named = models && *models && fs::path(written).is_relative();
  if (named) {
    const fs::path there = fs::absolute(fs::path(models) / written).lexically_normal();
    if (fs::exists(there, unreadable)) return there;
  }
  // A bare name may also be one of ./models or of those that were installed with backlot.
  if (fs::path(written).is_relative() && !fs::path(written).has_parent_path()) {
    if (const fs::path there = fs::absolute(fs::path("models") / written);
        fs::exists(there, unreadable))
      return there;
    if (const auto shipped = shipped_file(fs::path("models") / written)) return *shipped;
  }
  throw LoadError(document.sources.where(mark),
                  fmt::format("there is no model at {}", here.string()),
                  named ? fmt::format("nor under BACKLOT_MODELS={}; check the name", models)
                        : "check the path, which is relative to the spec, or set BACKLOT_MODELS");
}

std::string folder_hash(const fs::path& folder) {
  std::vector<fs::path> files;
  if (fs::is_directory(folder)) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      const auto kind = entry.path().extension();
      if (entry.is_regular_file() && (kind == ".json" || kind == ".safetensors"))
        files.push_back(entry.path());
    }
    std::ranges::sort(files);
  } else {
    files.push_back(folder);
  }
  Json listed = Json::array();
  for (const auto& file : files)
    listed.push_back({fs::is_directory(folder) ? file.filename().string() : "", sha256_file(file)});
  return sha256_hex(listed.dump());
}

Json resolved_spec(const SpecDocument& document) {
  Json out = {{"version", 1},
              {"name", document.name},
              {"task", task_name(document.task)},
              {"model", shown_path(document.model)}};
  put(out["defaults"] = Json::object(), document.defaults);
  out["jobs"] = Json::array();
  for (const auto& job : document.jobs) out["jobs"].push_back(resolved_job(job));
  Json& output =
      out["output"] = {{"format", document.output.format}, {"name", document.output.name}};
  if (document.task != Task::enhance) {
    output["quality"] = document.output.quality;
    output["metadata"] = document.output.metadata;
  }
  if (fs::path(document.output_dir).is_relative()) output["dir"] = document.output_dir;
  if (!document.output.codec.empty()) output["codec"] = document.output.codec;
  if (document.output.bit_depth != 8) output["bit_depth"] = document.output.bit_depth;
  if (document.output.crf) output["crf"] = *document.output.crf;
  if (document.output.max_bytes) output["max_bytes"] = *document.output.max_bytes;
  if (document.output.quota) output["quota"] = *document.output.quota;
  return out;
}

}  // namespace backlot
