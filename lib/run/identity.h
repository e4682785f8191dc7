// journal/run.json: that a folder is a run folder, and what was decided once for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "run/rooted_folder.h"

namespace backlot {

struct Identity {
  uint64_t base_seed = 0;
  std::string created;  // ISO 8601, UTC
};

// Nothing if there is none. Throws EnvironmentError: damaged, or written by a newer backlot.
std::optional<Identity> read_identity(const RootedFolder& root);
void write_identity(const RootedFolder& root, const Identity& identity);

// Throws EnvironmentError for a folder that is neither empty nor a run folder, nor what a kill left
// of one before run.json was there.
void refuse_foreign_folder(const RootedFolder& root);

// Below 2^53: exact in every JSON reader.
uint64_t drawn_seed();
uint64_t seed_of(const Json& spec);  // the same for every shard: from the SHA-256 of the spec

}  // namespace backlot
