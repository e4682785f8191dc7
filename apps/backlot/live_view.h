// The lines that show a fleet at work on a terminal: one for each worker, one for the whole.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fleet/fleet_progress.h"
#include "log.h"
#include "progress.h"

namespace backlot {

struct LiveWorker {
  WorkerView view;     // but for in_hand, which `item` stands for
  std::string item;    // the first one's output, "" if nothing is in hand
  double seconds = 0;  // since it was first ready
};

struct LiveState {
  RunCounts counts;
  double seconds = 0;  // since the run began
  std::vector<LiveWorker> workers;
};

// As many lines, none wider than the terminal, as leave it two rows; what matters less goes first.
std::vector<LiveLine> live_lines(const LiveState& state, TerminalSize size, bool colour);

// Columns that the text takes on a terminal.
int display_width(std::string_view text);

// `text` in at most `width` columns, an ellipsis for what does not fit.
std::string clipped(std::string_view text, int width);

}  // namespace backlot
