#include "fleet/faults.h"

#ifdef BACKLOT_FAULTS
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "base/text.h"
#endif

namespace backlot {

#ifdef BACKLOT_FAULTS
namespace {

void fail_by(const std::string& kind) {
  if (kind == "segfault") ::raise(SIGSEGV);
  if (kind == "abort") ::abort();
  if (kind == "kill") ::kill(::getpid(), SIGKILL);
  if (kind == "exit") ::_exit(97);
  if (kind == "stop") ::raise(SIGSTOP);
  if (kind == "error") throw std::runtime_error("a fault on purpose");
  for (std::atomic<bool> turning = kind == "hang"; turning;) {
  }
}

}  // namespace

void inject_fault(const Item& item) {
  const char* faults = std::getenv("BACKLOT_FAULT");
  if (!faults) return;
  for (const auto& text : split(faults, ',')) {
    const size_t at = text.find('@');
    if (at != std::string::npos && text.substr(at + 1) == std::to_string(item.index))
      fail_by(text.substr(0, at));
  }
}
#else
void inject_fault(const Item&) {}
#endif

}  // namespace backlot
