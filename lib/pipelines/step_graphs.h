// Evaluations of a network that are recorded once for each shape and replayed from then on.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "nn/graph_recorder.h"

namespace backlot {

// What decides a recording: calls with equal keys have tensors of equal shapes and types.
struct StepKey {
  std::string network;  // "unet", "vae"
  int64_t batch = 0, height = 0, width = 0;
  int64_t text_length = 0;
  at::ScalarType dtype = at::kFloat;

  auto operator<=>(const StepKey&) const = default;
};

class StepGraphs {
 public:
  using Tensors = std::vector<at::Tensor>;

  // A network as a function of tensors: `constants` stay the same over a run of calls, `inputs`
  // change with each. It neither waits for the device nor keeps what it is given.
  using Network = std::function<at::Tensor(const Tensors& constants, const Tensors& inputs)>;

  struct Limits {
    size_t recordings = 8;
    uint64_t bytes = uint64_t{8} << 30;  // that recordings took, as far as they tell
  };

  StepGraphs(std::unique_ptr<GraphRecorder> recorder, Limits limits)
      : recorder_(std::move(recorder)), limits_(limits) {}

  // network(constants, inputs). The first call with a key is computed as it stands, which also sets
  // up what kernels set up at first use; the second is recorded. `run` is a number that the calls
  // with the same constants share, and no other calls do.
  at::Tensor operator()(const StepKey& key, uint64_t run, const Tensors& constants,
                        const Tensors& inputs, const Network& network);

  // Lets go of all recordings and their memory. Whether there was one.
  bool clear();

  // Why nothing is recorded any more, once: after that, and while all is well, "".
  std::string take_warning();

  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    StepKey key;
    Tensors constants, inputs;  // where the recording reads
    at::Tensor output;          // where it writes
    std::unique_ptr<RecordedWork> work;
    uint64_t run = 0;
  };

  Entry* find(const StepKey& key);
  bool seen_before(const StepKey& key);
  void record(const StepKey& key, const Tensors& constants, const Tensors& inputs,
              const Network& network);
  void keep_within_limits();

  std::unique_ptr<GraphRecorder> recorder_;
  Limits limits_;
  std::list<Entry> entries_;  // the least recently used last
  std::list<StepKey> seen_;   // the same
  bool recording_ = true;
  std::string warning_;
};

}  // namespace backlot
