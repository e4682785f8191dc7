#include "fleet/faults.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace backlot {
namespace {

constexpr const char* variable = "BACKLOT_FAULT";

std::string_view wanted_faults() {
  const char* text = std::getenv(variable);
  return text ? text : "";
}

}  // namespace

void check_faults() { check_faults(wanted_faults()); }

#ifdef BACKLOT_FAULTS
namespace {

constexpr std::array kinds = {"segfault", "abort", "kill", "exit", "hang", "stop", "error"};

struct Fault {
  std::string kind;
  int64_t index = 0;  // of an item
};

Fault parse_fault(const std::string& text) {
  const size_t at = std::min(text.find('@'), text.size());
  Fault fault{.kind = text.substr(0, at)};
  const char* const end = text.data() + text.size();
  const char* const digits = at == text.size() ? end : text.data() + at + 1;
  const auto [stopped, error] = std::from_chars(digits, end, fault.index);
  if (error != std::errc() || stopped != end || fault.index < 0 ||
      std::ranges::find(kinds, fault.kind) == kinds.end())
    throw UsageError(fmt::format("${}", variable), fmt::format("'{}' is no fault", printable(text)),
                     fmt::format("give KIND@INDEX, KIND one of {}", fmt::join(kinds, ", ")));
  return fault;
}

std::vector<Fault> parse_faults(std::string_view text) {
  std::vector<Fault> faults;
  for (const auto& each : split(text, ','))
    if (!each.empty()) faults.push_back(parse_fault(each));
  return faults;
}

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

void check_faults(std::string_view text) { parse_faults(text); }

void inject_fault(const Item& item) {
  for (const auto& fault : parse_faults(wanted_faults()))
    if (fault.index == item.index) fail_by(fault.kind);
}
#else
void check_faults(std::string_view text) {
  if (!text.empty())
    throw UsageError(fmt::format("${}", variable), "this build has no faults to inject",
                     "unset it, or build with -DBACKLOT_FAULTS=ON");
}

void inject_fault(const Item&) {}
#endif

}  // namespace backlot
