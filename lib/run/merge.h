// Run folders of one plan put together: shards that worked in folders of their own.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "run/manifest.h"

namespace backlot {

struct MergeResult {
  Totals totals;                     // of the target
  int64_t taken = 0;                 // outputs that this call brought in
  std::vector<std::string> damaged;  // files of the sources that were not taken: not what their
                                     // journal line says
  std::vector<std::string> missing;  // journal line, but no file
};

// Brings what any source has done into `target`, a run folder like any other afterwards: outputs
// are proven by their hash and linked, or copied where the file system can't link; then come their
// journal lines, manifest and report. What no source has stays pending: the same command as the
// sources' with --output TARGET makes it. A merge that was killed goes on when called again, and
// one that is done changes nothing. The sources stay as they are, and may be at work. `target` may
// be one of them.
//
// Throws UsageError: no source; EnvironmentError: a folder is no run folder, the plans differ, the
// target holds something else or is at work, the disk is full.
MergeResult merge_runs(std::span<const fs::path> sources, const fs::path& target);

}  // namespace backlot
