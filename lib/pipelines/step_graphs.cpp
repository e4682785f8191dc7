#include "pipelines/step_graphs.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace backlot {
namespace {

constexpr size_t most_seen = 64;

StepGraphs::Tensors like(const StepGraphs::Tensors& tensors) {
  StepGraphs::Tensors made;
  for (const auto& tensor : tensors) made.push_back(at::empty_like(tensor));
  return made;
}

void copy(const StepGraphs::Tensors& from, const StepGraphs::Tensors& to) {
  // One launch for many tensors, as far as they lie alike in memory.
  StepGraphs::Tensors alike_from, alike_to;
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i].strides() == to[i].strides()) {
      alike_from.push_back(from[i]);
      alike_to.push_back(to[i]);
    } else {
      to[i].copy_(from[i]);
    }
  }
  if (!alike_from.empty()) at::_foreach_copy_(alike_to, alike_from);
}

uint64_t bytes_of(const StepGraphs::Tensors& tensors) {
  uint64_t bytes = 0;
  for (const auto& tensor : tensors) bytes += tensor.nbytes();
  return bytes;
}

}  // namespace

at::Tensor StepGraphs::operator()(const StepKey& key, uint64_t run, const Tensors& constants,
                                  const Tensors& inputs, const Network& network) {
  auto* entry = find(key);
  if (!entry) {
    if (!recording_ || !seen_before(key)) return network(constants, inputs);
    record(key, constants, inputs, network);
    entry = find(key);
    if (!entry) return network(constants, inputs);
  }
  if (entry->run != run) {
    copy(constants, entry->constants);
    entry->run = run;
  }
  copy(inputs, entry->inputs);
  entry->work->replay();
  // The next replay writes over it.
  return entry->output.clone();
}

StepGraphs::Entry* StepGraphs::find(const StepKey& key) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.key == key; });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return &entries_.front();
}

bool StepGraphs::seen_before(const StepKey& key) {
  const auto found = std::find(seen_.begin(), seen_.end(), key);
  if (found != seen_.end()) {
    seen_.splice(seen_.begin(), seen_, found);
    return true;
  }
  seen_.push_front(key);
  if (seen_.size() > most_seen) seen_.pop_back();
  return false;
}

void StepGraphs::record(const StepKey& key, const Tensors& constants, const Tensors& inputs,
                        const Network& network) {
  try {
    Entry entry{.key = key, .constants = like(constants), .inputs = like(inputs)};
    const auto output = std::make_shared<at::Tensor>();
    entry.work =
        recorder_->record([network, output, constants = entry.constants, inputs = entry.inputs] {
          const auto made = network(constants, inputs);
          output->defined() ? void(output->copy_(made)) : void(*output = made);
        });
    entry.output = *output;
    entries_.push_front(std::move(entry));
  } catch (const c10::OutOfMemoryError&) {
    // There may be room without recordings; whoever calls hears of it if there is not.
    clear();
    recording_ = false;
    warning_ = "too little memory to record the denoiser; it goes on without CUDA graphs";
    return;
  } catch (const c10::Error& error) {
    recording_ = false;
    const std::string what = error.what_without_backtrace();
    warning_ = "the denoiser could not be recorded and goes on without CUDA graphs: " +
               what.substr(0, what.find('\n'));
    return;
  }
  keep_within_limits();
}

void StepGraphs::keep_within_limits() {
  const auto bytes = [&] {
    uint64_t sum = 0;
    for (const auto& entry : entries_)
      sum += entry.work->bytes() + bytes_of(entry.constants) + bytes_of(entry.inputs);
    return sum;
  };
  while (entries_.size() > 1 && (entries_.size() > limits_.recordings || bytes() > limits_.bytes)) {
    entries_.pop_back();
  }
}

bool StepGraphs::clear() {
  const bool any = !entries_.empty();
  entries_.clear();
  return any;
}

std::string StepGraphs::take_warning() { return std::exchange(warning_, {}); }

}  // namespace backlot
