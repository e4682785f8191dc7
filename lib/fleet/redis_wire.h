// What a coordinator and boxes write to one another through Redis.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fleet/work_queue.h"

namespace backlot {

// A run as its coordinator describes it to boxes: the "target" of an entry.
struct QueuedRun {
  std::string name;        // of the run
  std::string folder;      // where the coordinator has it
  uint64_t base_seed = 0;  // tells the run folder from another one under the same path
  OutputSettings output;
  std::string dtype = "auto", quantization = "none";
  int64_t batch_size = 0;
  bool allow_lower_precision = false;
  std::optional<int64_t> checkpoint_steps = {};
};

std::string to_text(const QueuedRun& run);

// The "item" of an entry: the item, and how often it was tried in earlier runs ("attempts").
std::string to_text(const Item& item, int64_t attempts);

// Throws EnvironmentError: written by a newer backlot, or by none.
QueuedRun queued_run_from_text(const std::string& text);

// What a run is called in Redis: the same for every coordinator of one run folder.
std::string run_key_of(const std::string& folder, uint64_t base_seed);

// What a box says when an item is settled.
struct BoxResult {
  Record record;
  std::string box;
  std::string elsewhere;  // the folder on the box where its output is, if not in the run's own
};

std::string to_text(const BoxResult& result);
std::optional<BoxResult> box_result_from_text(const std::string& text);

}  // namespace backlot
