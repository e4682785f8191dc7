#include "cache_option.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/units.h"
#include "fleet/devices.h"
#include "log.h"
#include "version.h"

namespace backlot {
namespace {

CacheLimits limits_of(const CacheOptions& options) {
  CacheLimits limits;
  if (!options.max_size.empty()) {
    limits.max_bytes = parse_bytes(options.max_size);
    if (!limits.max_bytes)
      throw UsageError("--cache-max-size " + options.max_size, "is no size",
                       "give a number of bytes, or a size such as 10GB or 10GiB");
  }
  if (!options.max_age.empty()) {
    limits.max_age = parse_duration(options.max_age);
    if (!limits.max_age)
      throw UsageError("--cache-max-age " + options.max_age, "is no duration",
                       "give a number with s, m, h, d or w, e.g. 30d");
  }
  return limits;
}

}  // namespace

void declare_cache_options(CLI::App& app, CacheOptions& options, const std::string& names) {
  app.add_option(names, options.folder,
                 "take from this folder what was made before, and keep there "
                 "what is made")
      ->check([](const std::string& text) {
        return text.empty() ? std::string("is empty; name the cache's folder") : std::string();
      });
  app.add_option("--cache-max-size", options.max_size,
                 "what was unused for longest goes beyond this, e.g. 10GB");
  app.add_option("--cache-max-age", options.max_age,
                 "what was unused for this long goes, e.g. 30d");
}

void check_cache_options(const CacheOptions& options) {
  limits_of(options);
  if (!options.folder.empty()) return;
  if (!options.max_size.empty() || !options.max_age.empty())
    throw UsageError(options.max_size.empty() ? "--cache-max-age" : "--cache-max-size",
                     "limits a cache, and none is named", "name its folder with --cache-dir");
}

std::unique_ptr<ResultCache> open_cache(const CacheOptions& options) {
  check_cache_options(options);
  if (options.folder.empty()) return nullptr;
  return std::make_unique<ResultCache>(options.folder, limits_of(options), version,
                                       [](const std::string& text) { log_warning(text); });
}

std::optional<CacheTarget> cache_target(const CacheOptions& options) {
  if (options.folder.empty()) return std::nullopt;
  return CacheTarget{fs::absolute(options.folder).lexically_normal(), limits_of(options), version};
}

MadeWith made_with(const std::string& device, const std::string& dtype,
                   const std::string& quantize) {
  MadeWith how;
  how.device = device.substr(0, device.find(':'));
  how.dtype = resolved_dtype(dtype, device);
  how.quantization = quantize;
  return how;
}

}  // namespace backlot
