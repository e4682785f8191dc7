// What a fleet's workers are handed, and where it comes from: a plan on this machine, or a queue
// that many machines share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "run/journal.h"
#include "run/result_cache.h"
#include "spec/item.h"

namespace backlot {

// The cache that a run's workers fill.
struct CacheTarget {
  fs::path folder;  // absolute
  CacheLimits limits;
  std::string version;  // of backlot
};

// A run as a worker needs to know it: where results go and how they are made.
struct RunTarget {
  fs::path folder;       // the run folder, absolute
  std::string journals;  // what the names of this fleet's journals begin with, e.g. "shard-2-of-8."
  OutputSettings output;
  std::string dtype = "auto", quantization = "none";
  int64_t batch_size = 0;                        // as asked for; 0: as many as fit
  bool allow_lower_precision = false;            // where float32 does not fit
  std::optional<int64_t> checkpoint_steps = {};  // MakingOptions'
  std::optional<CacheTarget> cache;
};

// Items of one batch key, to be made together. They stay the queue's, and valid until the queue has
// heard of each of them what became of it.
struct Work {
  std::shared_ptr<const RunTarget> run;
  std::vector<const Item*> items;
};

// A worker that is ready for more.
struct WorkerOffer {
  std::string worker;  // its name, "cpu-0"
  std::string device;  // "cpu", "cuda:1"
  std::string holds;   // pipeline_key() of the model in its memory; "" for none
  bool empty_handed;   // nothing of an earlier batch is still being written
  size_t workers = 1;  // how many of the fleet are at work, this one included
  // How long items have taken this worker, on average; 0 if it has made none yet.
  double seconds_each = 0;
  // The same for the much faster ones of the fleet, all of them together; 0 if there are none.
  double faster_seconds_each = 0;
  // How many pictures like this one fit into its device's memory together; at least 1.
  std::function<int64_t(const Item& item)> most_together;
};

// A worker that ended with items in hand.
struct Loss {
  std::string worker, device;
  std::string reason;  // "ended by signal 11 (Segmentation fault)", "no sign of life for 40 s"
  // False where the worker was killed from outside: then its items are not under suspicion, and
  // only --attempts bounds how often they are tried.
  bool own_fault = true;
  bool out_of_memory = false;  // the kernel's out-of-memory killer was at work
};

// An item that is not tried again, and why.
struct GivenUp {
  const Item* item = nullptr;
  std::string reason;
};

// Called by one thread.
class WorkQueue {
 public:
  virtual ~WorkQueue() = default;

  // What this worker should do next; nothing if there is nothing for it now.
  virtual std::optional<Work> take(const WorkerOffer& offer) = 0;

  // The item's journal line is on disk.
  virtual void settled(const Item& item, const Record& record) = 0;

  // Handed out, but not begun.
  virtual void give_back(const Item& item) = 0;

  // All that one worker had in hand when it ended. The queue offers them again, but for those that
  // it returns: given up, recorded as failed, and valid until the next call.
  virtual std::vector<GivenUp> lost(const std::vector<const Item*>& items, const Loss& loss) = 0;

  // Nothing is left to do and nothing is in hand.
  virtual bool finished() = 0;

  // How often the item was tried before, over all runs: what its next record counts on from.
  virtual int64_t tries_so_far(const Item&) const { return 0; }

  // At least once a second while the fleet works.
  virtual void tick() {}
};

}  // namespace backlot
