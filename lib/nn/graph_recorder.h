// Work on a device that is recorded once and replayed: the device repeats what it was given, and
// the host spends no time on launching each kernel. The CUDA plugin records CUDA graphs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace backlot {

class RecordedWork {
 public:
  virtual ~RecordedWork() = default;

  // Enqueues the work again: it reads and writes the memory that it did when it was recorded.
  virtual void replay() = 0;

  // Memory that was taken for this recording.
  virtual uint64_t bytes() const = 0;
};

class GraphRecorder {
 public:
  virtual ~GraphRecorder() = default;

  // Calls `work` and records what it asks of the device, which does nothing of it yet. `work` has
  // run before, so that whatever is set up at first use is there; it neither waits for the
  // device nor reads from it, and whatever it uses stays where it is while the recording lives.
  // Recordings share memory for what is between: replay them on one stream, one after another, and
  // take a result before the next replay. Throws c10::Error; nothing is left of the recording then.
  virtual std::unique_ptr<RecordedWork> record(const std::function<void()>& work) = 0;
};

}  // namespace backlot
