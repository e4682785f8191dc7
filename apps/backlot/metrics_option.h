// --metrics-port and --metrics-address.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "fleet/metrics_server.h"

namespace backlot {

struct MetricsOptions {
  std::optional<int> port;  // 0: any free one
  std::string address = "127.0.0.1";
};

void declare_metrics_options(CLI::App& app, MetricsOptions& options);

// A server if one is asked for, and says where. Throws EnvironmentError if the port can't be had.
std::unique_ptr<MetricsServer> serve_metrics(const MetricsOptions& options,
                                             const FleetMetrics& metrics);

}  // namespace backlot
