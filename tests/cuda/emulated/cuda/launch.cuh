// Runs CUDA kernels on the CPU, a block after another, its threads as fibers that take turns at
// barriers. It shows what a kernel computes and which memory it touches; it shows nothing of speed,
// and no race between threads that no barrier parts.
#pragma once

#include <cuda_runtime_api.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <vector>

#undef __global__
#undef __device__
#undef __shared__
#undef __launch_bounds__
#define __global__
#define __device__
#define __shared__ static  // one block at a time
#define __launch_bounds__(...)

namespace backlot::cuda {

using std::isfinite;
using std::min;

struct Place {
  unsigned x = 0, y = 0;
};

inline Place threadIdx, blockIdx;
inline Place blockDim, gridDim;

namespace emulated {

constexpr size_t stack_bytes = 64 << 10, most_shared = 48 << 10;

struct Barrier {
  unsigned expected = 0, arrived = 0, generation = 0;
};

struct Block {
  std::vector<ucontext_t> fibers;
  std::vector<std::vector<char>> stacks;
  std::vector<bool> ended;
  std::vector<Barrier> warps;
  Barrier all;
  std::vector<double> given;  // to a shuffle, by each thread
  std::vector<float> shared;
  ucontext_t host;
  std::function<void()> body;
};

inline Block block;

inline void wait_at(Barrier& barrier) {
  const unsigned generation = barrier.generation;
  if (++barrier.arrived == barrier.expected) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  const Place self = threadIdx;
  while (barrier.generation == generation) {
    ::swapcontext(&block.fibers[self.x], &block.host);
    threadIdx = self;
  }
}

inline void run_thread() {
  const Place self = threadIdx;
  block.body();
  block.ended[self.x] = true;
  ::swapcontext(&block.fibers[self.x], &block.host);
}

inline void run_block(unsigned threads, size_t shared_bytes) {
  block.fibers.assign(threads, {});
  block.stacks.resize(threads, std::vector<char>(stack_bytes));
  block.ended.assign(threads, false);
  block.warps.assign(threads / 32, {.expected = 32});
  block.all = {.expected = threads};
  block.given.assign(threads, 0);
  // What a kernel did not write must not look like a sum.
  block.shared.assign(shared_bytes / sizeof(float), std::numeric_limits<float>::quiet_NaN());
  for (unsigned i = 0; i < threads; ++i) {
    auto& fiber = block.fibers[i];
    ::getcontext(&fiber);
    fiber.uc_stack.ss_sp = block.stacks[i].data();
    fiber.uc_stack.ss_size = stack_bytes;
    ::makecontext(&fiber, run_thread, 0);
  }
  for (bool going = true; going;) {
    going = false;
    for (unsigned i = 0; i < threads; ++i) {
      if (block.ended[i]) continue;
      threadIdx = {i};
      ::swapcontext(&block.host, &block.fibers[i]);
      going = true;
    }
  }
}

}  // namespace emulated

template <class Kernel, class... Arguments>
void launch(Kernel kernel, dim3 grid, int threads, size_t shared, cudaStream_t,
            Arguments... arguments) {
  if (threads % 32 != 0 || threads < 32 || threads > 1024 || grid.x == 0 || grid.y == 0 ||
      grid.y > 65535 || grid.z != 1 || shared > emulated::most_shared) {
    throw std::invalid_argument("a GPU would refuse this launch");
  }
  blockDim = {static_cast<unsigned>(threads), 1};
  gridDim = {grid.x, grid.y};
  emulated::block.body = [&] { kernel(arguments...); };
  for (unsigned y = 0; y < grid.y; ++y) {
    for (unsigned x = 0; x < grid.x; ++x) {
      blockIdx = {x, y};
      emulated::run_block(blockDim.x, shared);
    }
  }
}

inline float* dynamic_shared() { return emulated::block.shared.data(); }

inline void __syncthreads() { emulated::wait_at(emulated::block.all); }

// Values up to the precision of double. Every lane takes part.
template <class T>
T __shfl_xor_sync(unsigned, T value, int distance) {
  const unsigned self = threadIdx.x;
  auto& warp = emulated::block.warps[self / 32];
  emulated::block.given[self] = value;
  emulated::wait_at(warp);
  const auto other = static_cast<T>(emulated::block.given[self ^ static_cast<unsigned>(distance)]);
  emulated::wait_at(warp);
  return other;
}

inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }

}  // namespace backlot::cuda
