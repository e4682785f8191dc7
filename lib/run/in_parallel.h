// Independent pieces of disk work on several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace backlot {

// For work that reads and hashes: more threads than eight would only queue at the disk.
inline size_t usual_threads() {
  return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 8);
}

// Calls `work(i)` for every i below `count` on several threads; the first exception is rethrown.
template <typename Work>
void in_parallel(size_t count, Work work, size_t threads = usual_threads()) {
  std::atomic<size_t> next = 0;
  std::exception_ptr failure;
  std::atomic<bool> failed = false;
  const auto loop = [&] {
    for (size_t i; !failed && (i = next++) < count;) {
      try {
        work(i);
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> pool;
    for (size_t t = 1; t < std::min(count, threads); ++t) pool.emplace_back(loop);
    loop();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace backlot
