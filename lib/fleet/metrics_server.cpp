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

void call(const std::string& address, int port) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(static_cast<uint16_t>(port));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(static_cast<uint16_t>(port));
  const bool is_v4 = ::inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1;
  if (!is_v4 && ::inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr) != 1) return;
  const UniqueFd fd(::socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (is_v4)
    (void)::connect(fd.get(), reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  else
    (void)::connect(fd.get(), reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

}  // namespace

MetricsServer::MetricsServer(const std::string& address, int port, const FleetMetrics& metrics)
    : metrics_(metrics.everything()), address_(address) {
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
