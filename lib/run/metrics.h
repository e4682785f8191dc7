// metrics.prom: a run's numbers in Prometheus' text format, for the node exporter's textfile
// collector or anything else that reads it.
#pragma once

#include <span>
#include <string>

#include "run/journal.h"

namespace backlot {

// Items by status, attempts, bytes written, and a histogram of seconds per item for each stage;
// every series has the label run="NAME".
std::string metrics_text(const std::string& run_name, std::span<const Record> records);

}  // namespace backlot
