// Messages to a person, on standard error: never on standard output, which carries results only.
#pragma once

#include <string_view>

namespace backlot {

enum class Verbosity { quiet, normal, verbose };

// How messages look from here on; `json` writes one object a line.
void configure_log(Verbosity verbosity, bool json);

void log_error(std::string_view line);    // always shown
void log_warning(std::string_view line);  // not when quiet
void log_info(std::string_view line);     // not when quiet
void log_detail(std::string_view line);   // only when verbose

// Writes raw bytes to standard error in one call; a closed pipe is no reason to stop.
void write_stderr(std::string_view bytes);

}  // namespace backlot
