// The result cache, as every command that makes outputs takes it.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "fleet/work_queue.h"
#include "run/result_cache.h"

namespace backlot {

struct CacheOptions {
  std::string folder, max_size, max_age;
};

// `names` is what the option for the folder is called: "--cache-dir", "--cache,--cache-dir".
void declare_cache_options(CLI::App& app, CacheOptions& options, const std::string& names);

// Throws UsageError for a size or an age that is none, or one without a cache.
void check_cache_options(const CacheOptions& options);

// The cache, or null if none was asked for. Its troubles become warnings. Throws as
// check_cache_options, and EnvironmentError as ResultCache does.
std::unique_ptr<ResultCache> open_cache(const CacheOptions& options);

// The same for workers that open it themselves.
std::optional<CacheTarget> cache_target(const CacheOptions& options);

// How `device` ("cpu", "cuda:1") makes outputs with these --dtype and --quantize, found out without
// an engine.
MadeWith made_with(const std::string& device, const std::string& dtype,
                   const std::string& quantize);

}  // namespace backlot
