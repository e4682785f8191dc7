// A run as its manifest tells it, for work on run folders without the specs they were made from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "run/manifest.h"
#include "run/rooted_folder.h"
#include "spec/item.h"

namespace backlot {

struct StoredRun {
  Plan plan;  // items have what a manifest shows of them: not their model's folder, nor a VAE's
  RunInfo info;
  std::string started;
  std::vector<std::string> leftover;
  std::vector<std::string> sha256;  // by place in the plan; empty unless the item was done
};

// From manifest.json. Throws EnvironmentError: not there, damaged, or written by a newer backlot.
StoredRun read_stored_run(const RootedFolder& root);

// Makes manifest.json and metrics.prom of a folder in which shards worked anew from all their
// journals, so that they are whole even if the last shard was killed. Shards may be at work
// meanwhile. False, and nothing was changed, where no shard ever worked, or a run of the whole plan
// is at work: its manifest is true. Outputs that the manifest did not know yet are proven first.
bool renew_shared_manifest(const fs::path& run_folder);

}  // namespace backlot
