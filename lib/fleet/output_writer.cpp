#include "fleet/output_writer.h"

#include <utility>

namespace backlot {

OutputWriter::OutputWriter(std::function<void(FinishedPicture)> write, int threads, size_t capacity)
    : write_(std::move(write)), capacity_(capacity) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

OutputWriter::~OutputWriter() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void OutputWriter::submit(FinishedPicture finished) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return failure_ || queue_.size() < capacity_; });
  rethrow();
  queue_.push_back(std::move(finished));
  changed_.notify_all();
}

void OutputWriter::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return failure_ || (queue_.empty() && writing_ == 0); });
  rethrow();
}

void OutputWriter::rethrow() {
  if (failure_) std::rethrow_exception(failure_);
}

void OutputWriter::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closing_ || failure_ || !queue_.empty(); });
    if (failure_ || queue_.empty()) return;
    FinishedPicture finished = std::move(queue_.front());
    queue_.pop_front();
    ++writing_;
    changed_.notify_all();
    lock.unlock();
    std::exception_ptr failure;
    try {
      write_(std::move(finished));
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    --writing_;
    if (failure && !failure_) failure_ = failure;
    changed_.notify_all();
  }
}

}  // namespace backlot
