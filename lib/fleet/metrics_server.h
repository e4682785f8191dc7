// A fleet's numbers over HTTP, for Prometheus to scrape.
#pragma once

#include <memory>
#include <string>

#include "fleet/fleet_metrics.h"

namespace prometheus {
class Exposer;
}

namespace backlot {

class MetricsServer {
 public:
  // Answers GET /metrics on `address`:`port` in threads of its own until destroyed; port 0 is any
  // free one. `metrics` may go first. Throws EnvironmentError: the port is taken, or the address is
  // not this machine's.
  MetricsServer(const std::string& address, int port, const FleetMetrics& metrics);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  int port() const { return port_; }

 private:
  std::shared_ptr<prometheus::Collectable> metrics_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  int port_ = 0;
};

}  // namespace backlot
