// Messages to a person, on standard error: never on standard output, which carries results only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace backlot {

enum class Verbosity { quiet, normal, verbose };

// How messages look from here on; `json` writes one object a line.
void configure_log(Verbosity verbosity, bool json);

void log_error(std::string_view line);    // always shown
void log_warning(std::string_view line);  // not when quiet
void log_info(std::string_view line);     // not when quiet
void log_detail(std::string_view line);   // only when verbose

// A line at the bottom of a terminal, and how many columns it takes there.
struct LiveLine {
  std::string text;
  int columns = 0;
};

// Shows these lines, in place of those shown before; messages appear above them. None: they are
// gone.
void show_live_lines(std::vector<LiveLine> lines);

// The terminal's size now; 80 x 24 where nothing tells.
struct TerminalSize {
  int columns = 80, rows = 24;
};
TerminalSize terminal_size();

// Writes raw bytes to standard error in one call; a closed pipe is no reason to stop.
void write_stderr(std::string_view bytes);

}  // namespace backlot
