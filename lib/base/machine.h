// What this process may use of the machine: cgroup limits and affinity count, not just hardware.
#pragma once

#include <cstdint>
#include <string>

namespace backlot {

// Processors that the affinity mask and the cgroup's CPU quota leave to this process; at least 1.
int usable_processors();

// The cgroup's CPU quota in processors; infinite where there is none.
double processor_quota();

// Memory that this process could still take, in bytes: the machine's available memory or what the
// cgroup's limit leaves, whichever is less.
uint64_t memory_available_bytes();

// The machine's memory or the cgroup's limit, whichever is less, in bytes.
uint64_t memory_limit_bytes();

std::string processor_model();  // "AMD EPYC …"; "" if unknown

// True where the CPU multiplies bfloat16 itself: `auto` then computes in it, else in float32.
bool processor_has_bfloat16();

}  // namespace backlot
