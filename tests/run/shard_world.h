// Shards of a made-up run, for tests.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "run/fake_run.h"
#include "support/run_dir.h"

namespace backlot {

inline RunFolder open_shard(const fs::path& folder, const Plan& plan, std::optional<Shard> shard,
                            double seconds_for_orphans = 10) {
  RunInfo info = fake::info(folder);
  info.base_seed = RunFolder::base_seed(folder, plan.spec);
  RunFolderOptions options;
  options.shard = shard;
  options.seconds_for_orphans = seconds_for_orphans;
  return RunFolder::open(folder, plan, info, options);
}

// The line of the error that `action` ends with.
inline std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace backlot
