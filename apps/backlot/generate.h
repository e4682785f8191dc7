// The pieces of `backlot generate`, which `fleet-run` is made of too.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "cache_option.h"
#include "engine/engine.h"
#include "fleet/conduct_run.h"
#include "fleet/fleet_metrics.h"
#include "fleet/memory_plan.h"
#include "fleet/run_progress.h"
#include "metrics_option.h"
#include "run/run_folder.h"
#include "run/space_guard.h"
#include "spec/item.h"
#include "spec/spec.h"

namespace backlot {

struct GenerateOptions {
  std::vector<std::string> specs, sets, prompts;
  std::vector<std::string> scenes;            // prompts of one clip
  std::map<std::string, std::string> fields;  // job fields given as options
  std::string from;                           // a picture to make again
  std::string output, trace, device = "auto", dtype = "auto", quantize = "none", progress = "auto";
  MetricsOptions metrics;
  std::string quota, min_free;  // sizes as given; "" for none
  CacheOptions cache;
  int64_t batch_size = 0;
  std::optional<int64_t> checkpoint_steps;
  int threads = 0;
  bool allow_lower_precision = false;
  std::optional<Shard> shard;  // of fleet-run
  bool texts_only = false;     // of generate: only what the enhance stage makes
  bool dry_run = false, fresh = false, json = false, no_metadata = false;
  bool quiet = false, verbose = false, log_json = false;
};

// The specs that the options name, or the quick form as one spec. Throws UsageError, SpecError.
std::vector<SpecDocument> read_documents(const GenerateOptions& options);

// One spec made into a plan, with what its run folder wants to know of it.
struct PreparedRun {
  SpecDocument document;
  std::string spec = {};  // its file, as given; "" if there is none
  Plan plan;
  RunInfo info;
  std::string shown_folder;  // as printed: relative if it was given so
};

PreparedRun prepare_run(SpecDocument document, const GenerateOptions& options);

// Items of the run whose outputs are there.
int64_t count_done(const PreparedRun& run);

// What would be made, with its memory: for --dry-run.
// `workers`: the device of each process that will make items.
void print_plan(const PreparedRun& run, const GenerateOptions& options,
                const std::vector<std::string>& workers);

// Of a clip " x 81 frames at 16 fps", and in how many scenes if not one; else nothing.
std::string length_of(const Item& item);

// Refuses what no clip of the run can be made with, before any is. Throws SpecError, UsageError,
// LoadError.
void check_clips(const PreparedRun& run, const GenerateOptions& options);

MemoryWish memory_wish(const GenerateOptions& options);
// Every spec is read and planned before the first one starts, so that a mistake in the last is
// found at once. Throws UsageError, SpecError, LoadError.
std::vector<PreparedRun> prepare_runs(const GenerateOptions& options);

// Throws UsageError for runs of texts, which are another command's.
void insist_on_pictures(const std::vector<PreparedRun>& runs);

// The options that generate and fleet-run share, and what is wrong with their values (UsageError).
void declare_run_options(CLI::App& app, GenerateOptions& options);
void check_run_options(const GenerateOptions& options);
SpaceLimits space_limits_of(const GenerateOptions& options);
Precision precision_of(const std::string& dtype);
Quantization quantization_of(const std::string& name);

void configure_log(const GenerateOptions& options);

// Conducts each of the runs in turn. If one throws, says which of the others were not started, and
// throws it on.
void conduct_in_turn(std::vector<PreparedRun>& runs, const GenerateOptions& options,
                     const std::function<void(PreparedRun& run)>& conduct);

// Says what the run folder's outputs of earlier runs are like.
void report_findings(const RunFolder& folder);

// What is left to say where the process is ended in the middle of a run.
void say_cut_short();

// The run's result on standard output.
void print_totals(const PreparedRun& run, const RunTotals& totals, bool json);

}  // namespace backlot
