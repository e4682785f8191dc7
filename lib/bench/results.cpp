#include "bench/results.h"

#include "base/error.h"

namespace backlot {
namespace {

constexpr int format_version = 1;

Json case_json(const BenchCase& each) {
  const Summary summary = each.summary();
  Json out{{"suite", each.suite},       {"name", each.name},
           {"measures", each.measures}, {"parameters", each.parameters},
           {"seconds", each.seconds},   {"median", summary.median},
           {"least", summary.least},    {"most", summary.most},
           {"mad", summary.mad},        {"stages", Json::object()},
           {"figures", each.figures},   {"error", each.error.empty() ? Json() : Json(each.error)}};
  for (const auto& [stage, seconds] : each.stages) out["stages"][stage] = seconds;
  return out;
}

BenchCase bench_case(const Json& json) {
  BenchCase out{.suite = json.at("suite"),
                .name = json.at("name"),
                .measures = json.at("measures"),
                .parameters = json.at("parameters"),
                .seconds = json.at("seconds").get<std::vector<double>>(),
                .figures = json.at("figures")};
  const Json& stages = json.at("stages");
  for (auto stage = stages.begin(); stage != stages.end(); ++stage)
    out.stages.emplace_back(stage.key(), stage->get<std::vector<double>>());
  if (json.at("error").is_string()) out.error = json["error"];
  return out;
}

Json timeline_json(const Timeline& timeline) {
  Json bars = Json::array();
  for (const auto& bar : timeline.bars)
    bars.push_back({{"track", bar.track},
                    {"name", bar.name},
                    {"kind", bar.kind},
                    {"begin", bar.begin},
                    {"seconds", bar.seconds}});
  return {{"title", timeline.title}, {"bars", std::move(bars)}};
}

Timeline timeline(const Json& json) {
  Timeline out{.title = json.at("title")};
  for (const auto& bar : json.at("bars"))
    out.bars.push_back(
        {bar.at("track"), bar.at("name"), bar.at("kind"), bar.at("begin"), bar.at("seconds")});
  return out;
}

}  // namespace

double BenchCase::stage_median(std::string_view stage) const {
  for (const auto& [name, seconds] : stages)
    if (name == stage) return backlot::median(seconds);
  return 0;
}

double BenchCase::figure(const std::string& key) const {
  const auto found = figures.find(key);
  return found != figures.end() && found->is_number() ? found->get<double>() : 0;
}

Json to_json(const BenchResults& results) {
  Json out{{"backlot_bench", format_version}, {"started", results.started},
           {"seconds", results.seconds},      {"complete", results.complete},
           {"machine", results.machine},      {"options", results.options},
           {"ceilings", Json::array()},       {"cases", Json::array()},
           {"timelines", Json::array()},      {"notes", results.notes}};
  for (const auto& ceiling : results.ceilings)
    out["ceilings"].push_back({{"device", ceiling.device},
                               {"dtype", ceiling.dtype},
                               {"flops_per_second", ceiling.flops_per_second},
                               {"bytes_per_second", ceiling.bytes_per_second}});
  for (const auto& each : results.cases) out["cases"].push_back(case_json(each));
  for (const auto& each : results.timelines) out["timelines"].push_back(timeline_json(each));
  return out;
}

BenchResults bench_results(const Json& json, const std::string& source) {
  if (!json.is_object() || !json.contains("backlot_bench"))
    throw UsageError(source, "is not what 'backlot bench' writes",
                     "give a bench.json from -o, or what --json printed");
  if (json["backlot_bench"] != format_version)
    throw UsageError(source, "was written by another version of backlot bench",
                     "measure the baseline again with this one");
  try {
    BenchResults out{.started = json.at("started"),
                     .seconds = json.at("seconds"),
                     .complete = json.at("complete"),
                     .machine = json.at("machine"),
                     .options = json.at("options"),
                     .notes = json.at("notes").get<std::vector<std::string>>()};
    for (const auto& each : json.at("ceilings"))
      out.ceilings.push_back({each.at("device"), each.at("dtype"), each.at("flops_per_second"),
                              each.at("bytes_per_second")});
    for (const auto& each : json.at("cases")) out.cases.push_back(bench_case(each));
    for (const auto& each : json.at("timelines")) out.timelines.push_back(timeline(each));
    if (out.machine.is_object() && out.options.is_object()) return out;
  } catch (const Json::exception&) {
    // said below
  }
  throw UsageError(source, "is a damaged benchmark result", "measure the baseline again");
}

}  // namespace backlot
