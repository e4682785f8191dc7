#include "pipelines/device_time.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <thread>

namespace backlot {
namespace {

constexpr size_t most_ahead = 2;

}  // namespace

DeviceMark::DeviceMark(at::Device device) {
  if (device.is_cpu()) return;
  event_.emplace(device.type(), c10::EventFlag::BACKEND_DEFAULT);  // with a time
  event_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
}

void DeviceMark::wait() const {
  if (event_) event_->synchronize();
}

void DeviceMark::sleep() const {
  while (event_ && !event_->query()) std::this_thread::sleep_for(std::chrono::microseconds(200));
}

double DeviceMark::seconds_since(const DeviceMark& earlier) const {
  if (event_ && earlier.event_) return earlier.event_->elapsedTime(*event_) / 1000;
  return std::chrono::duration<double>(host_ - earlier.host_).count();
}

void Pace::step() {
  if (device_.is_cpu()) return;
  ahead_.emplace_back(device_);
  if (ahead_.size() <= most_ahead) return;
  ahead_.front().wait();
  ahead_.pop_front();
}

at::Tensor upload(const at::Tensor& host, at::Device device) {
  if (device.is_cpu()) return host;
  return host.pin_memory().to(device, host.scalar_type(), /*non_blocking=*/true);
}

}  // namespace backlot
