#include "run/stored_run.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "run/history.h"
#include "run/in_parallel.h"
#include "run/metrics.h"
#include "run/proof.h"
#include "run/run_lock.h"
#include "spec/planned_texts.h"

namespace backlot {
namespace {

constexpr uint64_t max_manifest_bytes = uint64_t{4} << 30;

Task task_from(const std::string& name) {
  for (const Task task : {Task::text_to_image, Task::text_to_video, Task::enhance,
                          Task::analyze_video, Task::image_to_3d})
    if (task_name(task) == name) return task;
  throw Json::other_error::create(0, "task", nullptr);
}

// A manifest names models by their last name, and two may share that: the fingerprint in front
// keeps them apart, and is never written down.
fs::path model_path(const Json& model) {
  const Json& fingerprint = model.at("fingerprint");
  return fs::path(fingerprint.is_null() ? "" : fingerprint.get<std::string>()) /
         fs::path(model.at("path").get<std::string>()).filename();
}

Item item_from_manifest(const Json& json) {
  Item item;
  item.id = json.at("id");
  item.index = json.at("index");
  item.job = json.at("job");
  item.output = json.at("output");
  item.parameters = json.at("parameters");
  item.text_id = text_id_of(item.parameters);
  item.model = model_path(json.at("model"));
  if (const Json& fingerprint = json.at("model").at("fingerprint"); !fingerprint.is_null())
    item.model_fingerprint = fingerprint;
  return item;
}

StoredRun run_from_manifest(const Json& manifest) {
  StoredRun run;
  run.plan.name = manifest.at("name");
  run.plan.task = task_from(manifest.at("task"));
  run.plan.spec = manifest.at("spec");
  run.info.backlot_version = manifest.at("backlot");
  run.info.base_seed = manifest.at("base_seed");
  for (const auto& model : manifest.at("models")) {
    ModelInfo info;
    info.path = model_path(model);
    info.fingerprint = model.at("fingerprint");
    if (!model.at("licence").is_null()) info.licence = model.at("licence").get<std::string>();
    run.info.models.push_back(std::move(info));
  }
  run.started = manifest.at("started");
  run.leftover = manifest.at("leftover").get<std::vector<std::string>>();
  for (const auto& item : manifest.at("items")) {
    run.plan.items.push_back(item_from_manifest(item));
    if (run.plan.task == Task::enhance) run.plan.items.back().text_id = run.plan.items.back().id;
    const Json& hash = item.at("sha256");
    run.sha256.push_back(hash.is_null() ? "" : hash.get<std::string>());
  }
  return run;
}

bool shards_worked_here(const RootedFolder& root) {
  const auto names = root.list("journal");
  return std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.starts_with("shard-") && name.ends_with(".jsonl");
  });
}

// By the journals, but an output that the manifest does not vouch for must prove itself.
Record record_now(const RootedFolder& root, const Item& item, const History& history,
                  const std::string& known_hash) {
  Record record = last_known(item, history);
  if (record.status != ItemStatus::done || record.file.sha256 == known_hash ||
      prove(root, item.output, record.file) == Proof::good)
    return record;
  History without_outputs = history;
  without_outputs.done.clear();
  return last_known(item, without_outputs);
}

}  // namespace

StoredRun read_stored_run(const RootedFolder& root) {
  const std::string where = (root.path() / "manifest.json").string();
  const auto text = root.read("manifest.json", max_manifest_bytes);
  if (!text)
    throw EnvironmentError(where, "no such file",
                           "name a run folder; if its manifest was removed, run its job again, "
                           "which writes it anew");
  try {
    const Json manifest = Json::parse(*text);
    if (manifest.at("version").get<int>() > 1)
      throw EnvironmentError(where, "was written by a newer backlot", "use that one");
    StoredRun run = run_from_manifest(manifest);
    for (const auto& item : run.plan.items)
      if (!is_output_path(item.output))
        throw EnvironmentError(where, "names an output outside of its run folder",
                               "run its job again, which writes it anew");
    return run;
  } catch (const Json::exception&) {
    throw EnvironmentError(where, "is damaged", "run its job again, which writes it anew");
  }
}

bool renew_shared_manifest(const fs::path& run_folder) {
  const RootedFolder root(run_folder);
  if (!shards_worked_here(root)) return false;
  const FolderGuard guard(root);
  const auto alone = keep_out_whole_runs(root);
  if (!alone) return false;

  StoredRun run = read_stored_run(root);
  const JournalContents contents = read_journals(root);
  const Histories histories(contents);
  std::vector<Record> records(run.plan.items.size());
  in_parallel(records.size(), [&](size_t i) {
    const Item& item = run.plan.items[i];
    records[i] = record_now(root, item, histories.of(item.id), run.sha256[i]);
  });
  write_manifest(root, {.plan = run.plan,
                        .info = run.info,
                        .records = records,
                        .engines = contents.engines,
                        .texts = texts_by_id(contents.texts),
                        .leftover = run.leftover,
                        .started = run.started});
  root.write_durably("metrics.prom", metrics_text(run.plan.name, records));
  return true;
}

}  // namespace backlot
