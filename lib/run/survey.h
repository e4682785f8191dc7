// What the disk proves about a plan's items, and the tidying that a crash made necessary.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "run/journal.h"
#include "run/rooted_folder.h"
#include "run/shard.h"
#include "spec/item.h"

namespace backlot {

// What was found on the disk at the start of a run.
struct Findings {
  int64_t done = 0;                   // proven: journal line, file, size and hash agree
  int64_t renamed = 0;                // of those: moved to the name that the plan gives them now
  std::vector<std::string> missing;   // outputs with a journal line but no file: made again
  std::vector<std::string> damaged;   // outputs whose size or hash is wrong: made again
  std::vector<std::string> leftover;  // there, but their item is no longer in the plan: kept
  int64_t unreadable_lines = 0;       // of the journals, passed over
};

struct Survey {
  std::vector<Record> records;  // one per item of the plan, in its order
  Findings findings;
};

// Reads every output that a journal line vouches for (on several threads) and compares size and
// SHA-256. Outputs whose item now has another name are moved to it and written to `journal` anew;
// a crash between is picked up by the next survey. Changes nothing else.
//
// A shard proves only its own items, under their names in the plan, and moves nothing: of the
// others it takes the journals' word.
Survey survey(const RootedFolder& root, const Plan& plan, const JournalContents& contents,
              JournalWriter& journal, const std::optional<Shard>& shard = std::nullopt);

// True if an output seems to lie under another name than the plan's.
bool needs_moves(const RootedFolder& root, const Plan& plan, const JournalContents& contents);

// Removes what killed writes left under temporary names, in the root, the journal and the folders
// of the outputs. A shard removes those with its own tag, which nobody else writes while it holds
// its lock, and others only once they are an hour old by the file system's clock: process ids of
// other machines say nothing here. Where boxes of a queue may be writing, an hour is given to all.
void remove_temporary_files(const RootedFolder& root, const Plan& plan,
                            const JournalContents& contents,
                            const std::optional<Shard>& shard = std::nullopt,
                            bool boxes_write = false);

// Removes everything that backlot made in the folder (outputs, manifest, report, metrics,
// journals); foreign files stay, and so does journal/run.json. Goes on where a killed run of it
// ended.
void remove_run(const RootedFolder& root, const JournalContents& contents);

}  // namespace backlot
