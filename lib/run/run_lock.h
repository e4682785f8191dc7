// Who may work in a run folder: one process at a time.
#pragma once

#include "run/rooted_folder.h"

namespace backlot {

// Holds journal/lock until destroyed. The kernel lets go of it however the process ends, so a lock
// never outlives its owner and no one ever has to remove one.
class RunLock {
 public:
  // Throws EnvironmentError, with the owner's process id, if another process holds it.
  explicit RunLock(const RootedFolder& root);

 private:
  UniqueFd fd_;
};

}  // namespace backlot
