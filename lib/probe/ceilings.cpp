#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>

#include "pipelines/precision.h"
#include "pipelines/tensor_errors.h"
#include "probe/probe.h"
#include "probe/timing.h"

namespace backlot {
namespace {

constexpr int repeats = 3;

double best_seconds(const Call& call, at::Device device) {
  const auto seconds = time_calls({&call, 1}, device, repeats, 0.02, [] {});
  return *std::ranges::min_element(seconds);
}

// Neither way of multiplying is the faster one everywhere, nor is one size.
double flops_per_second(at::ScalarType dtype, at::Device device) {
  double best = 0;
  for (const int64_t n : device.is_cpu() ? std::vector<int64_t>{1024, 2048, 4096}
                                         : std::vector<int64_t>{4096, 8192, 12288}) {
    Workbench bench(dtype, device);
    const auto a = bench.input({n, n}), b = bench.weights()("weight", {n, n});
    const Linear layer(LinearParameters(b, std::nullopt));
    auto out = at::empty_like(a);
    const double flops =
        2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    for (const Call& call : {Call([&] { at::matmul_out(out, a, b); }), Call([&] { layer(a); })})
      best = std::max(best, flops / best_seconds(call, device));
  }
  return best;
}

// Every byte is read once and written once.
double bytes_per_second(at::Device device) {
  constexpr int64_t bytes = int64_t{512} << 20;
  const auto options = at::TensorOptions().dtype(at::kByte).device(device);
  const auto from = at::ones({bytes}, options);
  auto to = at::zeros({bytes}, options);
  std::vector<Call> ways = {[&] { to.copy_(from); }};
  if (device.is_cpu()) {
    // The C library's own copy goes past the caches when it is large.
    ways.push_back([&] {
      const auto* source = from.const_data_ptr<uint8_t>();
      auto* target = to.mutable_data_ptr<uint8_t>();
      const int64_t parts = at::get_num_threads(), each = bytes / parts;
      at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          std::memcpy(target + i * each, source + i * each,
                      static_cast<size_t>(i + 1 == parts ? bytes - i * each : each));
      });
    });
  }
  double best = 0;
  for (const auto& way : ways)
    best = std::max(best, 2.0 * static_cast<double>(bytes) / best_seconds(way, device));
  return best;
}

}  // namespace

Ceilings measure_ceilings(Precision precision, at::Device device) {
  const auto dtype = choose_dtype(precision, device);
  Ceilings ceilings{.dtype = precision_name(dtype)};
  const c10::InferenceMode inference;
  in_our_words("ceilings", [&] {
    ceilings.flops_per_second = flops_per_second(dtype, device);
    ceilings.bytes_per_second = bytes_per_second(device);
  });
  return ceilings;
}

}  // namespace backlot
