// How fast files can be read at all: the ceiling of loading a model.
#pragma once

#include <cstdint>
#include <vector>

#include "base/files.h"
#include "base/stop.h"

namespace backlot {

uint64_t total_bytes(const std::vector<fs::path>& files);

// Asks the kernel to forget the files' pages. Returns whether it did: pages that another process
// has mapped stay, and some file systems keep all.
bool drop_from_page_cache(const std::vector<fs::path>& files);

// The part of the files' pages that is in memory, 0 to 1.
double resident_share(const std::vector<fs::path>& files);

// Reads every byte once, by `threads` threads side by side, and returns the seconds. Throws
// EnvironmentError, Interrupted.
double read_seconds(const std::vector<fs::path>& files, int threads, const StopSignal& stop);

}  // namespace backlot
