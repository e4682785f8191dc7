// Runs of tiny pictures with a tiny model, and what their folders show.
#pragma once

#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace backlot {

// `count` pictures, into out/run.
inline void write_tiny_spec(const fs::path& file, int count, int steps = 2) {
  std::ofstream(file) << "version: 1\nname: run\nmodel: " << BACKLOT_TEST_DATA
                      << "/oracles/sdxl-base/model\ndefaults: {width: 32, height: 32, steps: "
                      << steps << "}\njobs:\n  - {prompt: a red fox, seed: 1, count: " << count
                      << "}\n";
}

inline std::vector<std::string> with_binary(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), BACKLOT_BINARY);
  return arguments;
}

// Finished ones.
inline size_t files_in(const fs::path& folder) {
  std::error_code error;
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder, error))
    count += !is_temporary_name(entry.path());
  return count;
}

// How many lines of the journals say of each item that it was done: made twice would be two.
inline std::map<std::string, int> times_done(const fs::path& run) {
  std::map<std::string, int> lines;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(run / "journal", absent)) {
    if (entry.path().extension() != ".jsonl") continue;
    std::ifstream journal(entry.path());
    for (std::string line; std::getline(journal, line);) {
      const Json record = Json::parse(line, nullptr, false);
      if (record.is_object() && record.value("status", "") == "done")
        ++lines[record["id"].get<std::string>()];
    }
  }
  return lines;
}

// The processes that one has started.
inline std::vector<pid_t> children_of(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
  std::vector<pid_t> children;
  for (pid_t child = 0; in >> child;) children.push_back(child);
  return children;
}

// A small file system of one's own, where that is allowed.
class SmallDisk {
 public:
  explicit SmallDisk(const fs::path& at, const std::string& options) : at_(at) {
    fs::create_directories(at);
    mounted_ = ::mount("tmpfs", at.c_str(), "tmpfs", 0, options.c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  fs::path at_;
  bool mounted_ = false;
};

}  // namespace backlot
