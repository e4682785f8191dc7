#include "merge.h"

#include <fmt/format.h>

#include "log.h"
#include "run/merge.h"

namespace backlot {

ExitCode merge_folders(const std::vector<std::string>& folders, const std::string& output) {
  const std::vector<fs::path> sources(folders.begin(), folders.end());
  const MergeResult result = merge_runs(sources, output);
  for (const auto& file : result.damaged) log_warning(file + ": is damaged; it was not taken");
  for (const auto& file : result.missing) log_warning(file + ": is gone; it was not taken");
  const Totals& totals = result.totals;
  log_info(fmt::format("{} output(s) brought in; {} of {} done, {} failed, {} still to be made",
                       result.taken, totals.done, totals.items, totals.failed, totals.pending));
  return totals.done == totals.items ? ExitCode::done : ExitCode::items_failed;
}

}  // namespace backlot
