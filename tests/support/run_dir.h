// Reading a run folder back as its users do: from manifest.json and the files.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "base/files.h"
#include "base/json.h"
#include "base/sha256.h"

namespace backlot {

inline Json read_manifest(const fs::path& run) {
  return Json::parse(read_file(run / "manifest.json"));
}

// Every item done once, every file there with the hash that the manifest says, nothing
// half-written.
inline void expect_complete(const fs::path& run, size_t items) {
  const Json manifest = read_manifest(run);
  ASSERT_EQ(manifest["items"].size(), items);
  std::set<std::string> ids, outputs;
  for (const auto& item : manifest["items"]) {
    ASSERT_EQ(item["status"], "done") << item.dump();
    const std::string output = item["output"];
    ids.insert(item["id"].get<std::string>());
    outputs.insert(output);
    ASSERT_TRUE(fs::exists(run / output)) << output;
    EXPECT_EQ(sha256_file(run / output), item["sha256"].get<std::string>()) << output;
    EXPECT_EQ(fs::file_size(run / output), item["bytes"].get<uint64_t>()) << output;
  }
  EXPECT_EQ(ids.size(), items);
  EXPECT_EQ(outputs.size(), items);
  for (const auto& entry : fs::recursive_directory_iterator(run))
    EXPECT_FALSE(is_temporary_name(entry.path())) << entry.path();
}

}  // namespace backlot
