// Suite `kernels`: the device's ceilings first, then every operator of the networks under them.
#include <fmt/format.h>

#include "base/error.h"
#include "bench/bench.h"
#include "bench/kernel_figures.h"

namespace backlot {
namespace {

constexpr int usual_repeats = 5;

class KernelProgress : public Progress {
 public:
  explicit KernelProgress(const StopSignal& stop) : stop_(stop) {}
  void stage(std::string_view) override {}
  void step(int64_t, int64_t) override {}
  bool stop_requested() const override { return stop_.requested(); }

 private:
  const StopSignal& stop_;
};

// One network at one size and batch in one precision.
void measure_setting(Bench& bench, KernelRequest kernels, const std::string& prefix,
                     const MeasuredCeiling& ceiling) {
  const BenchRequest& request = bench.request();
  kernels.filters = engine_filters(request.filters, prefix + "/");
  double begin = trace_clock();
  KernelProgress progress(bench.stop());
  bench.engine().measure_kernels(
      kernels,
      [&](const KernelFigure& kernel) {
        BenchCase each{.suite = "kernels",
                       .name = fmt::format("{}/{} {}", prefix, kernel.name, kernel.shape),
                       .measures = "a call",
                       .parameters = {{"architecture", request.model_name},
                                      {"setting", prefix.substr(prefix.find('/') + 1)},
                                      {"device", request.device},
                                      {"dtype", ceiling.dtype},
                                      {"kernel", kernel.name},
                                      {"shape", kernel.shape},
                                      {"calls", kernel.calls},
                                      {"flops", kernel.flops},
                                      {"bytes", kernel.bytes}},
                       .seconds = kernel.seconds};
        const double end = trace_clock();
        bench.recorder().span(kernel.name, "stage", begin, end, {{"shape", kernel.shape}});
        begin = end;
        if (!request.wants(each.name)) return;
        add_roofline_figures(each, kernel, ceiling);
        bench.add(std::move(each));
      },
      progress);
}

}  // namespace

void run_kernel_suite(Bench& bench) {
  const BenchRequest& request = bench.request();
  for (const auto& dtype : request.dtypes) {
    bench.check_stop();
    const double begin = trace_clock();
    const Ceilings measured = bench.engine().measure_ceilings(bench_precision(dtype));
    bench.recorder().span("ceilings", "stage", begin, trace_clock());
    const MeasuredCeiling ceiling{request.device, measured.dtype, measured.flops_per_second,
                                  measured.bytes_per_second};
    bench.add(ceiling);
    for (const auto& size : request.sizes)
      for (const int64_t batch : request.kernel_batch_sizes) {
        bench.check_stop();
        KernelRequest kernels{
            .architecture = request.synthetic ? *request.synthetic : request.model.string(),
            .precision = bench_precision(dtype),
            .batch = batch,
            .width = size[1],
            .height = size[0],
            .repeats = request.repeats_or(usual_repeats)};
        const std::string prefix = fmt::format(
            "{}/{}/batch-{}", case_prefix("kernels", request, dtype), size_name(size), batch);
        try {
          measure_setting(bench, kernels, prefix, ceiling);
        } catch (const UsageError& error) {
          // A filter may be meant for another suite alone.
          if (request.filters.empty()) throw;
          bench.note(fmt::format("{}: {}", prefix, error.problem()));
        }
      }
  }
}

}  // namespace backlot
