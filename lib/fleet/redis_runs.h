// The runs that a box works for, as it meets them on the queue.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "fleet/redis_wire.h"
#include "fleet/work_queue.h"
#include "run/worker_store.h"

namespace backlot {

class RedisRun {
 public:
  // Where the run's results go on this box: `output`/NAME if that is given, else the run's own
  // folder, which must then be within reach. Throws EnvironmentError if it is not.
  RedisRun(const QueuedRun& queued, const std::string& journals, const fs::path& output);

  const std::shared_ptr<const RunTarget>& target() const { return target_; }

  // "" if results go into the run's own folder, else the folder for the coordinator to name.
  const std::string& elsewhere() const { return elsewhere_; }

  // Of these items, what some journal of the folder has as done, with its file there.
  std::vector<Record> find_done(const std::vector<const Item*>& items) const;

  // In this box's folder before it began (only where results go elsewhere: a coordinator knows the
  // run's own folder by itself).
  const Record* done_before(const std::string& id) const;

  // Writes the journal line of an item that is given up, and returns it.
  Record record_failed(const Item& item, const std::string& reason, Attempt attempt,
                       int64_t tries_before) const;

 private:
  std::shared_ptr<const RunTarget> target_;
  std::string elsewhere_;
  std::unordered_map<std::string, Record> done_before_;  // by id
};

}  // namespace backlot
