// Faults on purpose, for tests and drills: only in builds with BACKLOT_FAULTS.
#pragma once

#include "spec/item.h"

namespace backlot {

// Does to this process what $BACKLOT_FAULT says about the item, if anything: "KIND@INDEX[,…]" with
// KIND one of
//   segfault abort kill exit   the process ends
//   hang stop                  it lives, but does nothing more (a busy loop; as by SIGSTOP)
//   error                      an exception that nobody expects
// Does nothing in builds without BACKLOT_FAULTS.
void inject_fault(const Item& item);

}  // namespace backlot
