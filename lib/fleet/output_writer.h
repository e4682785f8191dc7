// Encodes, hashes and writes finished pictures in the background, so that the device never waits
// for a disk.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "run/journal.h"
#include "spec/item.h"

namespace backlot {

struct FinishedPicture {
  const Item* item = nullptr;
  Picture picture;
  Attempt attempt;                             // all but the seconds of writing
  std::function<DeliveredPicture()> delivery;  // where the picture is still to come
  bool changed_for_memory = false;             // made otherwise than asked for, for want of memory
};

// A bounded queue with worker threads behind it.
class OutputWriter {
 public:
  // `write` makes one picture's file and journal line; it runs in the worker threads. A picture
  // that it throws for ends the run.
  OutputWriter(std::function<void(FinishedPicture)> write, int threads, size_t capacity);
  ~OutputWriter();  // what is queued is still written, unless a write failed
  OutputWriter(const OutputWriter&) = delete;
  OutputWriter& operator=(const OutputWriter&) = delete;

  // Blocks while the queue is full. Throws what a write threw.
  void submit(FinishedPicture finished);

  // Waits until all that was submitted is written. Throws what a write threw.
  void drain();

 private:
  void work();
  void rethrow();  // with the lock held

  std::function<void(FinishedPicture)> write_;
  size_t capacity_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<FinishedPicture> queue_;
  size_t writing_ = 0;
  bool closing_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace backlot
