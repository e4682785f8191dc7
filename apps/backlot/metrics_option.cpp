#include "metrics_option.h"

#include <fmt/format.h>

#include "log.h"

namespace backlot {

void declare_metrics_options(CLI::App& app, MetricsOptions& options) {
  app.add_option("--metrics-port", options.port,
                 "serve metrics to Prometheus on this port while at work (0: any free one)")
      ->check(CLI::Range(0, 65535));
  app.add_option("--metrics-address", options.address,
                 "the address to serve them on (0.0.0.0: all of this machine's)")
      ->needs("--metrics-port");
}

std::unique_ptr<MetricsServer> serve_metrics(const MetricsOptions& options,
                                             const FleetMetrics& metrics) {
  if (!options.port) return nullptr;
  auto server = std::make_unique<MetricsServer>(options.address, *options.port, metrics);
  log_info(fmt::format("metrics at http://{}:{}/metrics", options.address, server->port()));
  return server;
}

}  // namespace backlot
