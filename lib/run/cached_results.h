// Items that a cache already has, settled in bulk before anything is made.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "run/result_cache.h"
#include "run/run_folder.h"

namespace backlot {

// Hears of every item that was looked for: its record if it was there (it is done then), null
// if it was not.
using LookedUp = std::function<void(const Item& item, const Record* hit)>;

// Writes every pending item that the cache has, made in one of these ways (the first that it has),
// and records it as done: hundreds a second, all durable. `stop` is asked now and then whether to
// leave the rest. Returns how many there were. Throws EnvironmentError where the run folder can't
// be written; trouble with the cache is its own.
int64_t take_from_cache(RunFolder& folder, const OutputSettings& output, ResultCache& cache,
                        std::span<const MadeWith> ways, const LookedUp& looked_up,
                        const std::function<bool()>& stop);

}  // namespace backlot
