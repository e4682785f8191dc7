// The pieces of `backlot generate`.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "engine/engine.h"
#include "fleet/memory_plan.h"
#include "run/run_folder.h"
#include "spec/item.h"
#include "spec/spec.h"

namespace backlot {

struct GenerateOptions {
  std::vector<std::string> specs, sets, prompts;
  std::map<std::string, std::string> fields;  // job fields given as options
  std::string from;                           // a picture to make again
  std::string output, trace, device = "auto", dtype = "auto", quantize = "none", progress = "auto";
  int64_t batch_size = 0;
  int threads = 0;
  bool allow_lower_precision = false;
  bool dry_run = false, fresh = false, json = false, no_metadata = false;
  bool quiet = false, verbose = false, log_json = false;
};

// The specs that the options name, or the quick form as one spec. Throws UsageError, SpecError.
std::vector<SpecDocument> read_documents(const GenerateOptions& options);

// One spec made into a plan, with what its run folder wants to know of it.
struct PreparedRun {
  SpecDocument document;
  Plan plan;
  RunInfo info;
  std::string shown_folder;  // as printed: relative if it was given so
};

PreparedRun prepare_run(SpecDocument document, const GenerateOptions& options);

// What would be made, with its memory: for --dry-run.
void print_plan(const PreparedRun& run, const GenerateOptions& options);

MemoryWish memory_wish(const GenerateOptions& options);
Precision precision_of(const std::string& dtype);
Quantization quantization_of(const std::string& name);

}  // namespace backlot
