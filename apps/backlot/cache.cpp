// backlot cache: what a result cache holds, emptied, held against its hashes.
#include <fmt/format.h>

#include <ctime>
#include <memory>

#include "base/text.h"
#include "command.h"
#include "log.h"
#include "run/result_cache.h"
#include "version.h"

namespace backlot {
namespace {

struct CacheCommand {
  std::string action, folder;
  bool json = false;
};

// To the second, in UTC.
Json time_json(const std::optional<int64_t>& seconds) {
  if (!seconds) return nullptr;
  const std::time_t time = *seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts));
}

std::string plural(int64_t count) {
  return fmt::format("{} {}", count, count == 1 ? "output" : "outputs");
}

ExitCode print_stats(const ResultCache& cache, const CacheCommand& command) {
  const CacheStats stats = cache.stats();
  const Json oldest = time_json(stats.oldest_use), newest = time_json(stats.newest_use);
  if (command.json) {
    print_result(Json{
        {"cache", command.folder},
        {"entries", stats.entries},
        {"bytes", stats.bytes},
        {"oldest_use", oldest},
        {"newest_use",
         newest}}.dump());
    return ExitCode::done;
  }
  print_result(
      fmt::format("{}: {}, {}", command.folder, plural(stats.entries), human_bytes(stats.bytes)));
  if (stats.entries > 0)
    print_result(fmt::format("  last used: {} (longest ago) to {}", oldest.get<std::string>(),
                             newest.get<std::string>()));
  return ExitCode::done;
}

void print_stuck(const std::vector<std::string>& stuck, const CacheCommand& command) {
  for (const auto& path : stuck)
    log_error(fmt::format("{}: can't be removed; check its permissions, or remove it yourself",
                          (fs::path(command.folder) / path).string()));
}

ExitCode clear(ResultCache& cache, const CacheCommand& command) {
  const auto [removed, stuck] = cache.clear();
  if (command.json)
    print_result(Json{
        {"cache", command.folder},
        {"removed", removed.entries},
        {"bytes", removed.bytes},
        {"stuck",
         stuck}}.dump());
  else
    print_result(fmt::format("{}: removed {}, {}", command.folder, plural(removed.entries),
                             human_bytes(removed.bytes)));
  print_stuck(stuck, command);
  return stuck.empty() ? ExitCode::done : ExitCode::environment;
}

ExitCode verify(ResultCache& cache, const CacheCommand& command) {
  const CacheCheck check = cache.remove_damaged();
  cache.trim();
  if (command.json) {
    print_result(Json{{"cache", command.folder},
                      {"sound", check.sound},
                      {"bytes", cache.stats().bytes},
                      {"damaged", check.removed},
                      {"stuck", check.stuck}}
                     .dump());
  } else {
    for (const auto& path : check.removed) print_result(path + ": damaged; removed");
    for (const auto& path : check.stuck) print_result(path + ": unreadable; can't be removed");
    print_result(fmt::format(
        "{}: {} sound, {} damaged and removed{}", command.folder, plural(check.sound),
        check.removed.size(),
        check.stuck.empty() ? "" : fmt::format(", {} can't be removed", check.stuck.size())));
  }
  const bool sound = check.removed.empty() && check.stuck.empty();
  return sound ? ExitCode::done : ExitCode::items_failed;
}

ExitCode run_cache(const CacheCommand& command) {
  if (!is_cache(command.folder))
    throw EnvironmentError(command.folder, "is no cache",
                           "name a folder that was given to --cache or --cache-dir");
  ResultCache cache(command.folder, {}, version,
                    [](const std::string& text) { log_warning(text); });
  if (command.action == "stats") return print_stats(cache, command);
  return command.action == "clear" ? clear(cache, command) : verify(cache, command);
}

}  // namespace

Run declare_cache(CLI::App& app) {
  const auto command = std::make_shared<CacheCommand>();
  app.add_option("action", command->action,
                 "stats: how many outputs, how large, when used; clear: remove them all; verify: "
                 "hold every one against its hashes and remove what is damaged")
      ->required()
      ->check(CLI::IsMember({"stats", "clear", "verify"}));
  app.add_option("folder", command->folder, "the cache's folder")->required();
  app.add_flag("--json", command->json, "print JSON");
  return [command](StopSignal&) { return run_cache(*command); };
}

}  // namespace backlot
