#include "fleet/memory_store.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "support/temporary_folder.h"

namespace backlot {
namespace {

MemoryKey key(int64_t width) {
  MemoryKey key;
  key.model = "f00d";
  key.device = "a kind";
  key.dtype = "bfloat16";
  key.width = key.height = width;
  key.guidance = true;
  return key;
}

TEST(MemoryStore, KeepsWhatWasMeasured) {
  TemporaryFolder folder;
  const auto path = folder / "new/folder/memory.json";
  MemoryStore first(path);
  EXPECT_FALSE(first.find(key(64)));
  first.note_batch(key(64), 100, 200, 4, 1000);
  first.note_batch(key(64), 100, 200, 1, 400);
  first.note_limit(key(128), 2, 5000);
  const MemoryStore second(path);
  const auto found = second.find(key(64));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->before, 100u);
  EXPECT_EQ(found->loaded, 200u);
  EXPECT_EQ(found->peaks, (std::map<int64_t, uint64_t>{{1, 400}, {4, 1000}}));
  EXPECT_FALSE(found->limit);
  EXPECT_EQ(second.find(key(128))->limit, 2);
  EXPECT_EQ(second.find(key(128))->limit_allowed, 5000u);
  EXPECT_EQ(second.of_model("f00d").size(), 2u);
  auto tiled = key(64);
  tiled.tiled = true;
  EXPECT_FALSE(second.find(tiled));
}

TEST(MemoryStore, APeakRisesAtOnceAndFallsSlowly) {
  MemoryStore store("");
  store.note_batch(key(64), 100, 200, 1, 1000);
  store.note_batch(key(64), 100, 200, 1, 2000);
  EXPECT_EQ(store.find(key(64))->peaks.at(1), 2000u);
  store.note_batch(key(64), 100, 200, 1, 1000);
  EXPECT_EQ(store.find(key(64))->peaks.at(1), 1750u);
}

TEST(MemoryStore, ALargerBatchThatFittedEndsALimit) {
  MemoryStore store("");
  store.note_limit(key(64), 2, 5000);
  store.note_batch(key(64), 100, 200, 2, 1000);
  EXPECT_TRUE(store.find(key(64))->limit);
  store.note_batch(key(64), 100, 200, 3, 1200);
  EXPECT_FALSE(store.find(key(64))->limit);
}

TEST(MemoryStore, ASteadyRunWritesNothing) {
  TemporaryFolder folder;
  MemoryStore store(folder / "memory.json");
  store.note_batch(key(64), 1000, 2000, 1, 10000);
  fs::remove(folder / "memory.json");
  store.note_batch(key(64), 1000, 2005, 1, 10050);
  EXPECT_FALSE(fs::exists(folder / "memory.json"));
}

TEST(MemoryStore, DamageIsAsGoodAsNothing) {
  TemporaryFolder folder;
  const auto path = folder / "memory.json";
  MemoryStore(path).note_batch(key(64), 1, 2, 1, 3);
  const std::string whole = read_file(path);
  std::vector<std::string> damaged{
      "",        "{", "[]", "null", "{\"entries\": 3}", "{\"entries\": [{\"model\": 3}, 7, null]}",
      "\xff\xfe"};
  for (size_t length = 0; length < whole.size(); length += 7)
    damaged.push_back(whole.substr(0, length));
  for (const auto& bytes : damaged) {
    std::ofstream(path, std::ios::trunc | std::ios::binary) << bytes;
    MemoryStore store(path);
    EXPECT_FALSE(store.find(key(64))) << bytes;
    store.note_batch(key(64), 1, 2, 1, 3);
    EXPECT_TRUE(MemoryStore(path).find(key(64))) << "mended by the next measurement";
  }
}

TEST(MemoryStore, AStoreThatCannotBeWrittenStillServesItsProcess) {
  TemporaryFolder folder;
  std::ofstream(folder / "file") << "no folder";
  fs::create_directory(folder / "memory.json");  // in the file's place
  for (const auto& path : {folder / "file/memory.json", folder / "memory.json",
                           fs::path("/proc/backlot/memory.json"), fs::path()}) {
    MemoryStore store(path);
    EXPECT_NO_THROW(store.note_batch(key(64), 1, 2, 1, 3));
    EXPECT_TRUE(store.find(key(64))) << path;
  }
}

TEST(MemoryStore, ManyProcessesLoseNothing) {
  TemporaryFolder folder;
  const auto path = folder / "memory.json";
  constexpr int processes = 6, notes = 8;
  std::vector<pid_t> children;
  for (int process = 0; process < processes; ++process) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      MemoryStore store(path);
      for (int note = 0; note < notes; ++note)
        store.note_batch(key(64 * (process + 1)), 1, 2, note + 1, 1000);
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  const MemoryStore store(path);
  for (int process = 0; process < processes; ++process) {
    const auto found = store.find(key(64 * (process + 1)));
    ASSERT_TRUE(found) << process;
    EXPECT_EQ(found->peaks.size(), static_cast<size_t>(notes)) << process;
  }
}

}  // namespace
}  // namespace backlot
