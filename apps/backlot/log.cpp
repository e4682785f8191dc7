#include "log.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <utility>

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
std::vector<LiveLine> live;  // on the screen now, the cursor behind the last

void write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, bytes.data(), bytes.size());
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// Takes the live lines off the screen. A terminal that has become narrower since has broken them.
std::string erased() {
  if (live.empty()) return "";
  const int columns = terminal_size().columns;
  int rows = 0;
  for (const LiveLine& line : live) rows += std::max(1, (line.columns + columns - 1) / columns);
  return (rows > 1 ? fmt::format("\r\x1b[{}A", rows - 1) : "\r") + "\x1b[J";
}

std::string drawn() {
  std::string text;
  for (const LiveLine& line : live) text += (text.empty() ? "" : "\n") + line.text;
  return text;
}

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

void show_live_lines(std::vector<LiveLine> lines) {
  const std::lock_guard lock(writing);
  const std::string erasure = erased();
  live = std::move(lines);
  write_all(erasure + drawn());
}

TerminalSize terminal_size() {
  TerminalSize size;
  winsize window{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &window) != 0) return size;
  if (window.ws_col > 0) size.columns = window.ws_col;
  if (window.ws_row > 0) size.rows = window.ws_row;
  return size;
}

void write_stderr(std::string_view bytes) {
  const std::lock_guard lock(writing);
  if (live.empty()) return write_all(bytes);
  write_all(erased() + std::string(bytes) + drawn());
}

}  // namespace backlot
