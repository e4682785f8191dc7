// How much a run may write: a quota for its outputs, and a part of the disk that stays free.
#pragma once

#include <cstdint>
#include <optional>

#include "run/rooted_folder.h"

namespace backlot {

struct SpaceLimits {
  std::optional<uint64_t> quota;     // bytes of all outputs in the run folder
  std::optional<uint64_t> min_free;  // of the file system; else 1 % of it, at most 512 MiB
};

// Asked before an output is written. Processes at work in one run folder, on several machines too,
// share the quota: what they have used is noted in journal/used-bytes. Safe to use from several
// threads.
class SpaceGuard {
 public:
  // `root` is a run folder and must outlive the guard. Throws EnvironmentError if the note can't be
  // opened.
  SpaceGuard(const RootedFolder& root, SpaceLimits limits);

  // Counts what is in the folder now; a run begins with this, and a worker takes what it finds.
  void count_anew() const;

  // Takes the room for an output of this size in place of what is there. Throws EnvironmentError,
  // with the figures and what mends it, if that would go beyond a limit; then nothing is taken.
  void take(const fs::path& output, uint64_t bytes) const;

 private:
  void check_disk(const fs::path& output, uint64_t bytes) const;

  const RootedFolder& root_;
  SpaceLimits limits_;
  UniqueFd note_;
};

}  // namespace backlot
