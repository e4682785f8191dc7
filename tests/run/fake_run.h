// A plan of made-up items and the work of making them, for tests of the bookkeeping.
#pragma once

#include <fmt/format.h>

#include <string>

#include "base/sha256.h"
#include "base/time.h"
#include "run/run_folder.h"

namespace backlot::fake {

inline std::string bytes_of(const Item& item) { return "output of " + item.id + "\n"; }

inline Item item(int64_t index, const std::string& prompt) {
  const uint64_t seed = 1000 + static_cast<uint64_t>(index);
  return {.id = sha256_hex(fmt::format("{} {}", prompt, seed)),
          .index = index,
          .job = fmt::format("job-{}", index + 1),
          .model = "/home/somebody/models/pocket-xl",
          .parameters = {{"prompt", prompt},
                         {"seed", seed},
                         {"steps", 1},
                         {"width", 128},
                         {"height", 128},
                         {"guidance_scale", 3.5},
                         {"negative_prompt", nullptr}},
          .output = fmt::format("images/{:05}-fruit-{}.png", index, seed)};
}

inline Plan plan(int64_t count) {
  Plan plan{.name = "fruit-sheet", .spec = {{"version", 1}, {"jobs", Json::array()}}};
  for (int64_t i = 0; i < count; ++i)
    plan.items.push_back(item(i, fmt::format("fruit number {}", i)));
  return plan;
}

inline RunInfo info(const fs::path& folder, Resume resume = Resume::from_disk) {
  return {.backlot_version = "0.1.0",
          .models = {{.path = "/home/somebody/models/pocket-xl",
                      .fingerprint = std::string(64, 'a'),
                      .licence = "LICENSE"}},
          .base_seed = RunFolder::base_seed(folder, resume)};
}

inline RunFolder open(const fs::path& folder, const Plan& plan, Resume resume = Resume::from_disk) {
  return RunFolder::open(folder, plan, info(folder, resume), {.resume = resume, .shard = {}});
}

inline Attempt attempt() {
  return {.started = utc_now(),
          .text_encode = 0.1,
          .denoise = 2.5,
          .decode = 0.4,
          .write = 0.02,
          .device = "cpu",
          .dtype = "float32",
          .batch = 2};
}

inline void make(RunFolder& run, const Item& item) {
  run.record_done(item, run.write_output(item, bytes_of(item)), 128, 128, attempt());
}

// Makes what is pending, and returns how many items that were.
inline int64_t finish(RunFolder& run) {
  int64_t made = 0;
  for (const Item* item : run.pending()) make(run, *item), ++made;
  run.write_manifest();
  return made;
}

}  // namespace backlot::fake
