#include <fmt/format.h>

#include <cstdlib>
#include <memory>

#include "base/json.h"
#include "base/text.h"
#include "command.h"
#include "engine/loader.h"
#include "fleet/devices.h"
#include "model_store.h"
#include "version.h"

namespace backlot {
namespace {

Json describe(const Device& device) {
  Json out{{"name", device.name},
           {"model", device.model},
           {"memory_bytes", device.memory_bytes},
           {"free_bytes", device.free_bytes}};
  if (device.processors > 0) out["processors"] = device.processors;
  if (!device.driver.empty()) out["driver"] = device.driver;
  if (device.temperature_c) out["temperature_c"] = *device.temperature_c;
  if (device.utilisation) out["utilisation"] = *device.utilisation;
  if (device.load) out["load"] = *device.load;
  return out;
}

// Everything that could keep work from starting, each with its mend.
std::vector<std::string> problems_with(const std::optional<TorchFolder>& torch) {
  std::vector<std::string> problems;
  const char* named = std::getenv("BACKLOT_TORCH");
  if (!torch && named && *named)
    problems.push_back(
        fmt::format("BACKLOT_TORCH={} holds no lib/libtorch_cpu.so; name the folder of "
                    "a torch or LibTorch 2.11, or unset the variable",
                    named));
  else if (!torch)
    problems.push_back(
        "LibTorch not found; run scripts/setup.sh, 'pip install torch==2.11.0', or "
        "point BACKLOT_TORCH at a torch or LibTorch 2.11 folder");
  else if (!torch->version.empty() && !torch->version.starts_with("2.11."))
    problems.push_back(
        fmt::format("{} is torch {}, backlot needs 2.11; 'pip install torch==2.11.0'",
                    torch->path.string(), torch->version));
  if (!find_engine())
    problems.push_back(
        "libbacklot_engine.so is not beside the binary; keep bin/ and lib/ together, "
        "or run 'make build'");
  return problems;
}

Json examine() {
  const auto torch = find_torch();
  Json report{{"backlot", version}, {"ready", true}, {"devices", Json::array()}};
  for (const auto& device : list_devices()) report["devices"].push_back(describe(device));
  report["cpu_features"] = cpu_features();
  report["torch"] = torch ? Json{{"path", torch->path.string()},
                                 {"version", torch->version},
                                 {"found_by", torch->found_by}}
                          : Json();
  const auto engine = find_engine();
  report["engine"] = engine ? Json(engine->string()) : Json();
  report["models"] = Json::array();
  for (const auto& model : list_models()) report["models"].push_back(model.string());
  report["problems"] = problems_with(torch);
  report["ready"] = report["problems"].empty();
  return report;
}

void print_report(const Json& report) {
  print_result(fmt::format("backlot {}: {}", report["backlot"].get<std::string>(),
                           report["ready"].get<bool>() ? "ready" : "not ready"));
  for (const auto& device : report["devices"]) {
    std::string line = fmt::format("  {:<8} {}, {} of {} free", device["name"].get<std::string>(),
                                   device["model"].get<std::string>(),
                                   human_bytes(device["free_bytes"].get<uint64_t>()),
                                   human_bytes(device["memory_bytes"].get<uint64_t>()));
    if (device.contains("processors"))
      line += fmt::format(", {} processors, {}", device["processors"].get<int>(),
                          report["cpu_features"].get<std::string>());
    if (device.contains("driver"))
      line += fmt::format(", driver {}", device["driver"].get<std::string>());
    if (device.contains("temperature_c"))
      line += fmt::format(", {:.0f}°C", device["temperature_c"].get<double>());
    if (device.contains("utilisation"))
      line += fmt::format(", {:.0f}% busy", device["utilisation"].get<double>() * 100);
    print_result(line);
  }
  const Json& torch = report["torch"];
  if (!torch.is_null())
    print_result(fmt::format("  torch    {} in {} ({})", torch["version"].get<std::string>(),
                             torch["path"].get<std::string>(),
                             torch["found_by"].get<std::string>()));
  if (report["engine"].is_string())
    print_result(fmt::format("  engine   {}", report["engine"].get<std::string>()));
  for (const auto& model : report["models"])
    print_result(fmt::format("  model    {}", model.get<std::string>()));
  for (const auto& problem : report["problems"])
    print_result(fmt::format("  problem  {}", problem.get<std::string>()));
}

}  // namespace

Run declare_health(CLI::App& app) {
  const auto json = std::make_shared<bool>(false);
  app.add_flag("--json", *json, "print one JSON object");
  return [json](StopSignal&) {
    const Json report = examine();
    if (*json)
      print_result(report.dump(2));
    else
      print_report(report);
    return report["ready"].get<bool>() ? ExitCode::done : ExitCode::environment;
  };
}

}  // namespace backlot
