// Where LibTorch's tensors on the CPU live. The system gives large blocks zeroed and page by page,
// which costs more than many operators that fill them; so blocks once taken are kept for the next
// tensor, in huge pages where the system has them.
#pragma once

#include <cstdint>

namespace backlot {

// From now on, for the whole process; further calls do nothing.
void use_memory_pool();

// Held for reuse, in bytes: as good as free.
uint64_t idle_pool_bytes();

// Gives that back to the system.
void drop_idle_pool();

}  // namespace backlot
