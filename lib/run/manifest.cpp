#include "run/manifest.h"

#include <algorithm>
#include <unordered_map>

#include "base/time.h"
#include "spec/scene_spans.h"

namespace backlot {
namespace {

std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// The last part of a path, also when it ends in a slash.
std::string name_of(const fs::path& path) {
  return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json models_json(const RunInfo& info) {
  Json models = Json::array();
  for (const auto& model : info.models)
    models.push_back({{"path", name_of(model.path)},
                      {"fingerprint", model.fingerprint},
                      {"licence", model.licence ? Json(*model.licence) : Json()}});
  return models;
}

Json devices_json(std::span<const EngineRecord> engines) {
  Json devices = Json::array();
  for (const auto& engine : engines) {
    const Json device = {{"name", engine.device},
                         {"model", engine.device_model},
                         {"memory_bytes", engine.device_memory_bytes}};
    if (std::find(devices.begin(), devices.end(), device) == devices.end())
      devices.push_back(device);
  }
  return devices;
}

Json totals_json(const Totals& totals) {
  return {{"items", totals.items},     {"done", totals.done},       {"failed", totals.failed},
          {"pending", totals.pending}, {"seconds", totals.seconds}, {"bytes", totals.bytes}};
}

Json head_json(const ManifestView& view) {
  const std::string torch = view.engines.empty() ? "" : view.engines.back().torch_version;
  return {{"version", 1},
          {"backlot", view.info.backlot_version},
          {"name", view.plan.name},
          {"task", task_name(view.plan.task)},
          {"base_seed", view.info.base_seed},
          {"started", view.started},
          {"updated", utc_now()},
          {"totals", totals_json(totals_of(view.records))},
          {"models", models_json(view.info)},
          {"software", {{"backlot", view.info.backlot_version}, {"torch", text_or_null(torch)}}},
          {"devices", devices_json(view.engines)},
          {"leftover", view.leftover},
          {"spec", view.plan.spec}};
}

// What an enhance stage made of the item's prompt.
void add_text(Json& out, const Item& item, const TextRecords& texts) {
  if (item.text_id.empty()) return;
  const auto found = texts.find(item.text_id);
  const bool made = found != texts.end();
  out["prompt"] = prompt_of(item.parameters);
  out["enhanced_prompt"] = made ? Json(found->second.text) : Json();
  out["enhancement"] = made ? enhancement_json(found->second) : Json();
}

// Of a clip that has several: where each is.
void add_scenes(Json& out, const Item& item) {
  for (const auto& span : scene_spans(item.parameters)) out["scenes"].push_back(to_json(span));
}

Json item_json(const Item& item, const Record& record, const std::string& fingerprint) {
  const bool done = record.status == ItemStatus::done;
  const bool tried = record.status != ItemStatus::pending;
  const Attempt& attempt = record.attempt;
  return {{"id", item.id},
          {"index", item.index},
          {"job", item.job},
          {"status", status_name(record.status)},
          {"output", item.output},
          {"sha256", done ? Json(record.file.sha256) : Json()},
          {"bytes", done ? Json(record.file.bytes) : Json()},
          {"width", done && record.width > 0 ? Json(record.width) : Json()},
          {"height", done && record.height > 0 ? Json(record.height) : Json()},
          {"parameters", item.parameters},
          {"model", {{"path", name_of(item.model)}, {"fingerprint", text_or_null(fingerprint)}}},
          {"device", text_or_null(attempt.device)},
          {"dtype", text_or_null(attempt.dtype)},
          {"quantization", tried ? Json(attempt.quantization) : Json()},
          {"batch", tried ? Json(attempt.batch) : Json()},
          {"cached", attempt.cached},
          {"started", text_or_null(attempt.started)},
          {"seconds", tried ? seconds_json(attempt) : Json()},
          {"attempts", record.attempts},
          {"warnings", attempt.warnings},
          {"error", record.status == ItemStatus::failed ? Json(record.error) : Json()}};
}

}  // namespace

namespace {

void count(Totals& totals, const Record& record, int64_t times) {
  totals.items += times;
  if (record.status == ItemStatus::failed) totals.failed += times;
  if (record.status == ItemStatus::pending) totals.pending += times;
  if (record.status != ItemStatus::done) return;
  totals.done += times;
  totals.seconds += static_cast<double>(times) * record.attempt.seconds();
  totals.bytes += static_cast<uint64_t>(times) * record.file.bytes;
}

}  // namespace

void Totals::add(const Record& record) { count(*this, record, 1); }
void Totals::remove(const Record& record) { count(*this, record, -1); }

Totals& Totals::operator+=(const Totals& other) {
  items += other.items;
  done += other.done;
  failed += other.failed;
  pending += other.pending;
  seconds += other.seconds;
  bytes += other.bytes;
  return *this;
}

TextRecords texts_by_id(std::span<const TextRecord> texts) {
  TextRecords out;
  for (const auto& text : texts) out.insert_or_assign(text.id, text);
  return out;
}

Totals totals_of(std::span<const Record> records) {
  Totals totals;
  for (const auto& record : records) totals.add(record);
  return totals;
}

void write_manifest(const RootedFolder& root, const ManifestView& view) {
  std::unordered_map<std::string, std::string> fingerprints;
  for (const auto& model : view.info.models) fingerprints[model.path.string()] = model.fingerprint;

  DurableWriter out(root, "manifest.json");
  std::string head = dump(head_json(view), 2);
  head.resize(head.size() - 2);  // without its closing "\n}"
  out.write(head + ",\n  \"items\": [");
  for (size_t i = 0; i < view.records.size(); ++i) {
    const Item& item = view.plan.items[i];
    out.write(i ? ",\n    " : "\n    ");
    Json json = item_json(item, view.records[i], fingerprints[item.model.string()]);
    add_text(json, item, view.texts);
    add_scenes(json, item);
    if (const auto& clip = view.records[i].file.clip) json.update(to_json(*clip));
    out.write(dump(json));
  }
  out.write("\n  ]\n}\n");
  out.commit();
}

}  // namespace backlot
