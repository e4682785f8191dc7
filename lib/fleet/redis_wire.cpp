#include "fleet/redis_wire.h"

#include "base/error.h"
#include "base/sha256.h"
#include "spec/item_json.h"

namespace backlot {
namespace {

// 2: items carry the text that is rendered in their prompt's place.
constexpr int wire_version = 2;

}  // namespace

std::string to_text(const QueuedRun& run) {
  return Json{{"version", wire_version},
              {"name", run.name},
              {"folder", run.folder},
              {"base_seed", run.base_seed},
              {"output", to_json(run.output)},
              {"dtype", run.dtype},
              {"quantization", run.quantization},
              {"batch_size", run.batch_size},
              {"allow_lower_precision", run.allow_lower_precision},
              {"checkpoint_steps", run.checkpoint_steps ? Json(*run.checkpoint_steps) : Json()}}
      .dump();
}

std::string to_text(const Item& item, int64_t attempts) {
  Json json = to_json(item);
  json["attempts"] = attempts;
  return json.dump();
}

QueuedRun queued_run_from_text(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    if (json.at("version").get<int>() > wire_version)
      throw EnvironmentError("the queue", "was filled by a newer backlot",
                             "install the same version on all boxes");
    QueuedRun run;
    run.name = json.at("name");
    run.folder = json.at("folder");
    run.base_seed = json.at("base_seed");
    run.output = output_settings_from_json(json.at("output"));
    run.dtype = json.at("dtype");
    run.quantization = json.at("quantization");
    run.batch_size = json.at("batch_size");
    run.allow_lower_precision = json.at("allow_lower_precision");
    if (const Json& steps = json.at("checkpoint_steps"); !steps.is_null())
      run.checkpoint_steps = steps.get<int64_t>();
    return run;
  } catch (const Json::exception&) {
    throw EnvironmentError("the queue", "holds an entry that no backlot wrote",
                           "give backlot a --queue of its own");
  }
}

std::string run_key_of(const std::string& folder, uint64_t base_seed) {
  return sha256_hex(folder + "\n" + std::to_string(base_seed)).substr(0, 16);
}

std::string to_text(const BoxResult& result) {
  return Json{
      {"record", to_json(result.record)}, {"box", result.box}, {"elsewhere", result.elsewhere}}
      .dump();
}

std::optional<BoxResult> box_result_from_text(const std::string& text) try {
  const Json json = Json::parse(text);
  auto record = record_from_json(json.at("record"));
  if (!record) return std::nullopt;
  BoxResult result;
  result.record = std::move(*record);
  result.box = json.at("box");
  result.elsewhere = json.at("elsewhere");
  return result;
} catch (const Json::exception&) {
  return std::nullopt;
}

}  // namespace backlot
