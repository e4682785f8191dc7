// Who may work in a run folder: one process, or one for each shard of one split.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "run/rooted_folder.h"
#include "run/shard.h"

namespace backlot {

// Holds journal/manifest.lock: for the moments in which a run takes its locks, or shards write what
// they share (run.json, manifest.json, metrics.prom). Not to be held while items are made.
class FolderGuard {
 public:
  // Waits for whoever holds it. Throws EnvironmentError after ten minutes.
  explicit FolderGuard(const RootedFolder& root);

  // Nothing if another process holds it now.
  static std::optional<FolderGuard> try_take(const RootedFolder& root);

 private:
  explicit FolderGuard(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// Another process works in the folder: it may be free later.
struct RunFolderInUse : EnvironmentError {
  using EnvironmentError::EnvironmentError;
};

// What a process wants to do in the folder.
struct RunClaim {
  std::optional<Shard> shard;  // none: the whole plan, alone
  std::string plan;            // names the plan; shards at work together must have the same
  // How long to wait where the recorded owner is dead but its lock is not: a process it started may
  // outlive a supervisor's kill -9 for a moment.
  double seconds_for_orphans = 10;
};

// Held until destroyed. The kernel lets go of it when the last process that has the descriptor
// ends, however it ends, so a lock never outlives its owners and no one ever has to remove one.
class RunLock {
 public:
  // Throws RunFolderInUse, saying who works here and what would work beside them. On return the
  // guard is held, so that what follows happens before any other run gets in.
  RunLock(const RootedFolder& root, const RunClaim& claim, std::optional<FolderGuard>& guard);

  // True if no other shard was at work when this lock was taken.
  bool alone() const { return alone_; }

  // The descriptor that is the lock: RunFolder::lock_fd.
  int fd() const { return shard_ ? shard_.get() : whole_.get(); }

 private:
  UniqueFd whole_, shard_;
  bool alone_ = true;
};

// Keeps unsharded runs out while it lives; shards may work. Nothing if an unsharded run is at work.
// Take the guard first.
std::optional<UniqueFd> keep_out_whole_runs(const RootedFolder& root);

// True for the names of lock files in journal/.
bool is_lock_name(std::string_view name);

}  // namespace backlot
