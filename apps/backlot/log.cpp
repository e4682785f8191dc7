#include "log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <mutex>

#include "base/json.h"
#include "base/text.h"
#include "base/time.h"

namespace backlot {
namespace {

struct LogSettings {
  Verbosity verbosity = Verbosity::normal;
  bool json = false;
} settings;

std::mutex writing;

void write_line(std::string_view level, std::string_view line) {
  if (settings.json) {
    const Json object{{"time", utc_now()}, {"level", level}, {"message", line}};
    write_stderr(object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    return;
  }
  const std::string prefix = level == "info" || level == "detail" ? "" : fmt::format("{}: ", level);
  write_stderr(fmt::format("backlot: {}{}\n", prefix, printable(line)));
}

}  // namespace

void configure_log(Verbosity verbosity, bool json) { settings = {verbosity, json}; }

void log_error(std::string_view line) { write_line("error", line); }

void log_warning(std::string_view line) {
  if (settings.verbosity != Verbosity::quiet) write_line("warning", line);
}

void log_info(std::string_view line) {
  if (settings.verbosity != Verbosity::quiet) write_line("info", line);
}

void log_detail(std::string_view line) {
  if (settings.verbosity == Verbosity::verbose) write_line("detail", line);
}

void write_stderr(std::string_view bytes) {
  const std::lock_guard lock(writing);
  while (!bytes.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, bytes.data(), bytes.size());
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace backlot
