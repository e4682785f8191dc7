// Makes the n-th system call that changes the disk fail, or kills the process there. Linked into a
// test program it stands in front of libc for the whole program; it does nothing until armed.
#pragma once

#include <cstdint>

namespace backlot::faults {

enum class Kind {
  count,        // none: only counts
  kill,         // the process ends at once, with status 9
  power_loss,   // the same, and what was not flushed is gone
  no_space,     // ENOSPC, from that call on
  io_error,     // EIO, once
  interrupted,  // EINTR, once, for calls that signals can interrupt
  short_write,  // one byte is written, once
};

constexpr int killed_status = 9;

// From here on, calls are counted from 1, and the `at`-th goes wrong. For use in a forked child.
void arm(Kind kind, int64_t at);

// Calls since arm(), also those of a forked child that is gone by now.
int64_t calls();

}  // namespace backlot::faults
