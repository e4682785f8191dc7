// Faults on purpose, for tests and drills: only in builds with BACKLOT_FAULTS.
#pragma once

#include <string_view>

#include "spec/item.h"

namespace backlot {

// Whether `text`, the value of $BACKLOT_FAULT, is something that this build can do: "" or
// "KIND@INDEX[,…]" with KIND one of
//   segfault abort kill exit   the process ends
//   hang stop                  it lives, but does nothing more (a busy loop; as by SIGSTOP)
//   error                      an exception that nobody expects
// Throws UsageError if not; builds without BACKLOT_FAULTS can do nothing but "".
void check_faults(std::string_view text);

// The same for $BACKLOT_FAULT as it is: whoever sets it wants to see what comes of a fault, and
// must not take a run without any for the answer.
void check_faults();

// Does to this process what $BACKLOT_FAULT says about the item, if anything. Does nothing in builds
// without BACKLOT_FAULTS.
void inject_fault(const Item& item);

}  // namespace backlot
