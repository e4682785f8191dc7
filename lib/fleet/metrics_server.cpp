#include "fleet/metrics_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <prometheus/exposer.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "run/rooted_folder.h"

namespace backlot {
namespace {

// Makes a connection and ends it.
void call(const std::string& address, int port) {
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(static_cast<uint16_t>(port));
  if (::inet_pton(AF_INET, address.c_str(), &place.sin_addr) != 1) return;
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  (void)::connect(fd.get(), reinterpret_cast<const sockaddr*>(&place), sizeof place);
}

}  // namespace

MetricsServer::MetricsServer(const std::string& address, int port, const FleetMetrics& metrics)
    : metrics_(metrics.everything()), address_(address) {
  try {
    exposer_ = std::make_unique<prometheus::Exposer>(fmt::format("{}:{}", address, port));
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

// The library looks every two seconds whether to stop, or whenever somebody calls.
MetricsServer::~MetricsServer() {
  std::atomic<bool> stopped = false;
  std::thread caller([&] {
    while (!stopped) {
      call(address_, port_);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  exposer_.reset();
  stopped = true;
  caller.join();
}

}  // namespace backlot
