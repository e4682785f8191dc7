// Runs of tiny pictures with a tiny model, and what their folders show.
#pragma once

#include <gtest/gtest.h>
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

// The same of as many prompts, which a tiny language model enhances before. Its texts are
// gibberish, so that prompts are kept in the end.
inline void write_enhanced_spec(const fs::path& file, int prompts,
                                const std::string& enhance =
                                    "max_tokens: 12, model: " BACKLOT_TEST_DATA
                                    "/oracles/qwen2.5/model") {
  std::ofstream out(file);
  out << "version: 1\nname: run\nmodel: " << BACKLOT_TEST_DATA
      << "/oracles/sdxl-base/model\ndefaults: {width: 32, height: 32, steps: 2, seed: 3}\n"
      << "enhance: {retries: 1, " << enhance << "}\njobs:\n";
  for (int i = 0; i < prompts; ++i) out << "  - {prompt: fox number " << i << "}\n";
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

// Every record of the journals, shown in turn; a line that a kill cut short is passed over.
template <class See>
void each_record(const fs::path& run, const See& see) {
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(run / "journal", absent)) {
    if (entry.path().extension() != ".jsonl") continue;
    std::ifstream journal(entry.path());
    for (std::string line; std::getline(journal, line);) {
      const Json record = Json::parse(line, nullptr, false);
      if (record.is_object()) see(record);
    }
  }
}

// How many lines of the journals say of each item that it was done: made twice would be two.
inline std::map<std::string, int> times_done(const fs::path& run) {
  std::map<std::string, int> lines;
  each_record(run, [&](const Json& record) {
    if (record.value("status", "") == "done") ++lines[record["id"].get<std::string>()];
  });
  return lines;
}

// How often the journals hold a text of each id.
inline std::map<std::string, int> times_written(const fs::path& run) {
  std::map<std::string, int> times;
  each_record(run, [&](const Json& record) {
    if (record.contains("text")) ++times[record["text"]["id"].get<std::string>()];
  });
  return times;
}

inline void expect_texts_once(const fs::path& run, size_t texts) {
  const auto times = times_written(run);
  EXPECT_EQ(times.size(), texts);
  for (const auto& [id, count] : times) EXPECT_EQ(count, 1) << id;
}

// Puts another text in the place of each that a run's enhance stage has made: "TEXT 0", "TEXT 1", …
inline void replace_texts(const fs::path& run, const std::string& text) {
  const fs::path file = run / "journal" / "main.jsonl";
  std::ifstream journal(file);
  std::string lines;
  int count = 0;
  for (std::string line; std::getline(journal, line);) {
    Json record = Json::parse(line);
    if (record.contains("text")) record["text"]["text"] = text + " " + std::to_string(count++);
    lines += record.dump() + "\n";
  }
  journal.close();
  std::ofstream(file) << lines;
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
