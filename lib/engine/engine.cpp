// The engine: what libbacklot_engine.so gives to load_engine().
#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include "base/error.h"
#include "base/machine.h"
#include "engine/cuda_settings.h"
#include "engine/entry.h"
#include "pipelines/language.h"
#include "pipelines/memory_meter.h"
#include "pipelines/memory_pool.h"
#include "pipelines/sdxl.h"
#include "pipelines/wan.h"
#include "probe/probe.h"

namespace backlot {
namespace {

at::Device parse_device(const std::string& name) {
  if (name == "cpu") return at::Device(at::kCPU);
  const auto bad = [&](std::string what) {
    return EnvironmentError("--device " + name, std::move(what), "'backlot health' lists devices");
  };
  at::Device device(at::kCPU);
  try {
    device = at::Device(name);
  } catch (const c10::Error&) {
    throw bad("no such kind of device; use cpu, cuda or cuda:N");
  }
  if (device.type() != at::kCUDA) throw bad("only cpu and cuda are supported");
  if (!at::hasCUDA()) throw bad("LibTorch sees no CUDA device");
  at::globalContext().lazyInitDevice(at::kCUDA);
  const int count = static_cast<int>(at::detail::getCUDAHooks().deviceCount());
  const int index = device.has_index() ? device.index() : 0;
  if (index >= count) throw bad(fmt::format("only {} CUDA device(s) here", count));
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
}

class TorchEngine : public Engine {
 public:
  explicit TorchEngine(const EngineOptions& options) : device_(parse_device(options.device)) {
    threads_ = options.threads > 0 ? options.threads : usable_processors();
    at::set_num_threads(threads_);
    use_memory_pool();
    if (!device_.is_cpu()) {
      configure_cuda();
      if (!options.plugin_problem.empty()) {
        notes_.push_back("libbacklot_cuda.so " + options.plugin_problem +
                         ": LibTorch's own kernels serve, without CUDA graphs");
      }
    }
  }

  DeviceFacts device() const override {
    DeviceFacts facts{.name = device_.str(), .threads = threads_, .notes = notes_};
    if (device_.is_cpu()) {
      facts.model = processor_model();
      facts.memory_bytes = memory_limit_bytes();
      const uint64_t idle = idle_pool_bytes(), held = MemoryMeter(device_).held();
      facts.free_bytes = memory_available_bytes() + idle;
      facts.held_bytes = held > idle ? held - idle : 0;
    } else {
      const auto [free, total] = at::accelerator::getMemoryInfo(device_.index());
      facts.model = "CUDA device";
      facts.memory_bytes = total;
      facts.free_bytes = free;
      facts.held_bytes = MemoryMeter(device_).held();
    }
    return facts;
  }

  std::string torch_version() const override {
    return fmt::format("{}.{}.{}", TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, TORCH_VERSION_PATCH);
  }

  std::unique_ptr<ImagePipeline> load_image_pipeline(const PipelineOptions& options,
                                                     Progress& progress) override {
    return load_sdxl(options, device_, progress);
  }

  std::unique_ptr<VideoPipeline> load_video_pipeline(const VideoPipelineOptions& options,
                                                     Progress& progress) override {
    return load_wan(options, device_, progress);
  }

  std::unique_ptr<LanguageModel> load_language_model(const LanguageModelOptions& options,
                                                     Progress& progress) override {
    return backlot::load_language_model(options, device_, progress);
  }

  Ceilings measure_ceilings(Precision precision) override {
    return backlot::measure_ceilings(precision, device_);
  }

  void measure_kernels(const KernelRequest& request, const KernelListener& report,
                       Progress& progress) override {
    backlot::measure_kernels(request, device_, report, progress);
  }

 private:
  at::Device device_;
  int threads_ = 1;
  std::vector<std::string> notes_;
};

}  // namespace
}  // namespace backlot

extern "C" int backlot_engine_abi() { return backlot::engine_abi; }

extern "C" backlot::Engine* backlot_make_engine(const backlot::EngineOptions& options) {
  return new backlot::TorchEngine(options);
}
