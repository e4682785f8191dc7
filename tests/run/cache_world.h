// A result cache in a folder of its own, for tests.
#pragma once

#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/files.h"
#include "run/fake_run.h"
#include "run/result_cache.h"
#include "support/temporary_folder.h"

namespace backlot {

inline std::string key_of(int64_t number) { return sha256_hex(fmt::format("key {}", number)); }

// What any process would put under the key: incompressible, and different for every key.
inline CachedOutput output_of(const std::string& key, size_t size = 1000) {
  CachedOutput output;
  std::mt19937_64 random(std::hash<std::string>{}(key));
  while (output.bytes.size() < size) output.bytes += static_cast<char>(random());
  output.sha256 = sha256_hex(output.bytes);
  output.width = 64;
  output.height = 32;
  output.attempt = fake::attempt();
  return output;
}

struct CacheWorld {
  ResultCache cache(CacheLimits limits = {}) {
    return ResultCache(folder / "cache", limits, "1.0",
                       [this](const std::string& text) { warnings.push_back(text); });
  }
  fs::path file(const std::string& key) const {
    return folder / "cache" / "entries" / key.substr(0, 2) / key;
  }
  void last_used(const std::string& key, std::chrono::seconds ago) const {
    fs::last_write_time(file(key), fs::file_time_type::clock::now() - ago);
  }
  TemporaryFolder folder;
  std::vector<std::string> warnings;
};

}  // namespace backlot
