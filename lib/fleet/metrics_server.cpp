#include "fleet/metrics_server.h"

#include <fmt/format.h>
#include <prometheus/exposer.h>

#include "base/error.h"

namespace backlot {

MetricsServer::MetricsServer(const std::string& address, int port, const FleetMetrics& metrics)
    : metrics_(metrics.everything()) {
  const bool ipv6 = address.find(':') != std::string::npos && !address.starts_with('[');
  const auto place =
      ipv6 ? fmt::format("[{}]:{}", address, port) : fmt::format("{}:{}", address, port);
  try {
    exposer_ = std::make_unique<prometheus::Exposer>(place);
  } catch (const std::exception&) {
    // The library does not say why.
    throw EnvironmentError(
        fmt::format("--metrics-port {}", port), fmt::format("cannot be listened on at {}", address),
        "another program may have it: give another port (0 for any free one), or "
        "an --metrics-address of this machine");
  }
  port_ = exposer_->GetListeningPorts().at(0);
  exposer_->RegisterCollectable(metrics_);
}

MetricsServer::~MetricsServer() = default;

}  // namespace backlot
