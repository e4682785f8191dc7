#include "fleet/fleet_of_one.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace backlot {
namespace {

// "cpu-0", "cuda-1-0": as a fleet names the first worker on a device.
std::string worker_name(std::string device) {
  std::ranges::replace(device, ':', '-');
  return device + "-0";
}

}  // namespace

FleetOfOne::FleetOfOne(FleetProgress& listener, const std::string& device, Wishes wishes)
    : listener_(listener), wishes_(wishes) {
  worker_.name = worker_name(device);
  worker_.device = device;
}

void FleetOfOne::begin(const Plan& plan, int64_t items, int64_t reused) {
  const std::lock_guard lock(mutex_);
  worker_.done = worker_.failed = 0;
  worker_.in_hand.clear();
  listener_.begin({.name = plan.name, .items = items, .reused = reused});
  read_devices();
}

void FleetOfOne::item_queued(const Item& item) {
  const std::lock_guard lock(mutex_);
  listener_.item_queued(item);
}

void FleetOfOne::batch_begun(std::span<const Item* const> batch) {
  const std::lock_guard lock(mutex_);
  worker_.state = WorkerState::working;
  worker_.in_hand.insert(worker_.in_hand.end(), batch.begin(), batch.end());
  for (const Item* item : batch) listener_.item_started(*item, worker_);
}

void FleetOfOne::stage(std::string_view name) {
  const std::lock_guard lock(mutex_);
  worker_.state = name == "load" ? WorkerState::loading : WorkerState::working;
  worker_.stage = name;
  worker_.step = worker_.steps = 0;
  changed();
}

void FleetOfOne::step(int64_t done, int64_t total, int64_t batch) {
  const std::lock_guard lock(mutex_);
  worker_.batch = batch;
  worker_.step = done;
  worker_.steps = total;
  changed();
}

void FleetOfOne::stage_ended() {
  const std::lock_guard lock(mutex_);
  worker_.state = WorkerState::idle;
  worker_.stage.clear();
  worker_.step = worker_.steps = 0;
  changed();
}

void FleetOfOne::item_progress(const Item& item, int percent, std::string_view preview) {
  const std::lock_guard lock(mutex_);
  listener_.item_progress(item, percent, preview);
}

void FleetOfOne::item_retried(const Item& item, const std::string& why) {
  const std::lock_guard lock(mutex_);
  put_down(item);
  listener_.item_retried(item, why);
  listener_.item_queued(item);
}

void FleetOfOne::item_recorded(const Item& item, const Record& record) {
  const std::lock_guard lock(mutex_);
  put_down(item);
  ++worker_.done;
  listener_.item_done(item, record);
  listener_.worker_changed(worker_);
}

void FleetOfOne::item_failed(const Item& item, const std::string& error) {
  const std::lock_guard lock(mutex_);
  put_down(item);
  ++worker_.failed;
  listener_.item_failed(item, error);
  listener_.worker_changed(worker_);
}

void FleetOfOne::warning(const std::string& text) {
  const std::lock_guard lock(mutex_);
  listener_.warning(text);
}

void FleetOfOne::detail(const std::string& text) {
  const std::lock_guard lock(mutex_);
  listener_.detail(text);
}

void FleetOfOne::end(const RunTotals& totals) {
  const std::lock_guard lock(mutex_);
  listener_.end(totals);
}

void FleetOfOne::changed() {
  if (since_reading_.seconds() >= 1) read_devices();
  listener_.worker_changed(worker_);
  listener_.tick();
}

void FleetOfOne::read_devices() {
  if (!wishes_.readings) return;
  since_reading_ = Stopwatch();
  if (!monitor_) monitor_.emplace();
  const auto& devices = monitor_->read();
  const auto memory = process_memory(::getpid());
  worker_.resident_bytes = memory.resident_bytes;
  worker_.peak_resident_bytes = memory.peak_bytes;
  if (const Device* device = monitor_->find(worker_.device)) note_reading(worker_, *device);
  listener_.devices_read(devices);
}

void FleetOfOne::put_down(const Item& item) { std::erase(worker_.in_hand, &item); }

}  // namespace backlot
