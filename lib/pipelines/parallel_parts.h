// Dividing a batch so that each part is one thread's own work, from a network's first operator to
// its last, where a network is too small for threads to share its operators.
#pragma once

#include <ATen/Parallel.h>
#include <c10/core/Device.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>

namespace backlot {

// How many parts to make of `rows` for a network whose widest level has that many channels; 1 where
// threads had better share every operator.
inline int64_t parts_in_parallel(at::Device device, int64_t channels, int64_t rows) {
  // A narrower network spends more time on starting and ending parallel operators than in them.
  constexpr int64_t narrow_channels = 256;
  if (!device.is_cpu() || channels > narrow_channels) return 1;
  const int64_t threads = at::get_num_threads();
  return rows >= threads ? threads : 1;
}

// work(i, begin, end) for each part of the rows; several at the same time, each on one thread.
template <class Work>
void each_part(int64_t rows, int64_t parts, Work work) {
  if (parts == 1) return work(0, 0, rows);
  // Inside, operators find themselves in a parallel region and keep to their thread.
  at::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
    const c10::InferenceMode inference;
    for (int64_t i = first; i < last; ++i) work(i, i * rows / parts, (i + 1) * rows / parts);
  });
}

}  // namespace backlot
