// What other processes write into a run's journals, as they write it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "run/journal.h"
#include "run/rooted_folder.h"

namespace backlot {

class JournalFollower {
 public:
  // `root` must outlive it.
  explicit JournalFollower(const RootedFolder& root) : root_(root) {}

  // Records of every journal/*.jsonl that were written since the last call; at the first call, all.
  // Of each journal only whole lines. Memory is bounded: what is left over comes at the next call.
  std::vector<Record> poll();

  // What was written by now won't be reported.
  void skip_to_end();

 private:
  // Calls `use` with each new whole line of the journal.
  template <typename Use>
  void read_on(const std::string& name, Use use);

  const RootedFolder& root_;
  std::map<std::string, uint64_t> read_;  // bytes, by file name
};

}  // namespace backlot
