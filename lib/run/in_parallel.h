// Independent pieces of disk work on several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace backlot {

// Calls `work(i)` for every i below `count` on several threads; the first exception is rethrown.
template <typename Work>
void in_parallel(size_t count, Work work) {
  constexpr size_t max_threads = 8;  // more would only queue at the disk
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
  const size_t threads =
      std::min({count, max_threads, std::max<size_t>(1, std::thread::hardware_concurrency())});
  {
    std::vector<std::jthread> pool;
    for (size_t t = 1; t < threads; ++t) pool.emplace_back(loop);
    loop();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace backlot
