// The pieces of `backlot bench`.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/bench.h"
#include "bench/compare.h"

namespace backlot {

struct BenchOptions {
  std::vector<std::string> suites, filters;
  std::string model, variant, synthetic;
  std::string quantize = "auto", device = "auto", dtypes = "auto", batch_sizes, sizes, steps,
              frames;
  std::optional<double> guidance_scale, threshold;
  int threads = 0, repeats = 0, warm_up = 1;
  std::string output, report, trace, baseline;
  bool json = false, quiet = false, verbose = false, log_json = false;
};

void declare_bench_options(CLI::App& app, BenchOptions& options);

std::span<const std::string_view> bench_suites();

// Every architecture that --synthetic knows, for some suite.
std::vector<std::string> known_architectures();

// The name, if it is one of those or a folder that has sizes. Throws UsageError.
std::string synthetic_of(const std::string& name);

// Those that were asked for, or all that can measure what was named. Throws UsageError.
std::vector<std::string> suites_of(const BenchOptions& options);

// A model as it stands in the names of cases.
std::string shown_name(fs::path model);

// What --model names, or the bundled model, for suites that make pictures, texts and clips. Throw
// LoadError.
fs::path model_of(const BenchOptions& options);
fs::path language_model_of(const BenchOptions& options);
fs::path video_model_of(const BenchOptions& options);

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
