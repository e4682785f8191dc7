// CUDA graphs as recordings.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>

#include "cuda/plugin.h"

namespace backlot::cuda {
namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

class CudaGraph final : public RecordedWork {
 public:
  CudaGraph(std::unique_ptr<at::cuda::CUDAGraph> graph, uint64_t bytes)
      : graph_(std::move(graph)), bytes_(bytes) {}

  void replay() override { graph_->replay(); }
  uint64_t bytes() const override { return bytes_; }

 private:
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
  uint64_t bytes_;
};

class CudaGraphRecorder final : public GraphRecorder {
 public:
  explicit CudaGraphRecorder(c10::DeviceIndex device)
      : device_(device),
        pool_(at::cuda::graph_pool_handle()),
        // The default stream can't be recorded.
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device)) {}

  std::unique_ptr<RecordedWork> record(const std::function<void()>& work) override {
    const c10::cuda::CUDAStreamGuard guard(stream_);
    const uint64_t before = reserved();
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    // Other threads go on: those that write pictures wait for events of theirs meanwhile.
    graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
    try {
      work();
      graph->capture_end();
    } catch (...) {
      abandon(*graph);
      throw;
    }
    const uint64_t after = reserved();
    return std::make_unique<CudaGraph>(std::move(graph), after > before ? after - before : 0);
  }

 private:
  uint64_t reserved() const {
    const auto stats = allocator::getDeviceStats(device_);
    constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    return static_cast<uint64_t>(stats.reserved_bytes[all].current);
  }

  // Brings the stream and the allocator back to where they were. A recording that went wrong can't
  // be ended as usual, and the allocator would go on looking out for it.
  void abandon(at::cuda::CUDAGraph& graph) const {
    const auto quietly = [](auto&& undo) {
      try {
        undo();
      } catch (const c10::Error&) {
        // Already undone, as far as it went.
      }
    };
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    C10_CUDA_IGNORE_ERROR(cudaStreamIsCapturing(stream_, &status));
    if (status != cudaStreamCaptureStatusNone) quietly([&] { graph.capture_end(); });
    C10_CUDA_IGNORE_ERROR(cudaStreamIsCapturing(stream_, &status));
    if (status != cudaStreamCaptureStatusNone) {
      cudaGraph_t dropped = nullptr;
      C10_CUDA_IGNORE_ERROR(cudaStreamEndCapture(stream_, &dropped));
      if (dropped) C10_CUDA_IGNORE_ERROR(cudaGraphDestroy(dropped));
    }
    quietly([&] { allocator::endAllocateToPool(device_, pool_); });
    [[maybe_unused]] const auto forgotten = cudaGetLastError();
  }

  c10::DeviceIndex device_;
  c10::MempoolId_t pool_;
  c10::cuda::CUDAStream stream_;
};

}  // namespace
}  // namespace backlot::cuda

extern "C" __attribute__((visibility("default"))) int backlot_cuda_plugin_abi() {
  return backlot::cuda_plugin_abi;
}

extern "C" __attribute__((visibility("default"))) backlot::GraphRecorder*
backlot_make_graph_recorder(int device) {
  return new backlot::cuda::CudaGraphRecorder(static_cast<c10::DeviceIndex>(device));
}
