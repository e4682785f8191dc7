// The pieces of `backlot bench`.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/compare.h"

namespace backlot {

struct BenchOptions {
  std::vector<std::string> suites, filters;
  std::string model, variant, synthetic;
  std::string quantize = "auto", device = "auto", dtypes = "auto", batch_sizes, sizes, steps;
  std::optional<double> guidance_scale, threshold;
  int threads = 0, repeats = 0, warm_up = 1;
  std::string output, report, trace, baseline;
  bool json = false, quiet = false, verbose = false, log_json = false;
};

void declare_bench_options(CLI::App& app, BenchOptions& options);

// With every default filled in. Throws UsageError, EnvironmentError, LoadError.
BenchRequest bench_request(const BenchOptions& options);

// The options, as the result records them.
Json describe(const BenchRequest& request);

// Where results go. Empty paths: nowhere.
struct BenchOutputs {
  fs::path json, report, trace;
};

// Makes the folders. Throws UsageError, EnvironmentError.
BenchOutputs bench_outputs(const BenchOptions& options);

struct Baseline {
  BenchResults results;
  std::string source;
  double threshold = 0.1;
};

// Throws UsageError: no such file, no benchmark.
std::optional<Baseline> read_baseline(const BenchOptions& options);

}  // namespace backlot
