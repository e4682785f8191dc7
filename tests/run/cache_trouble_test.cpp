// What goes wrong with a cache's files costs no more than those.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "run/cache_world.h"

namespace backlot {
namespace {

// Entries that are broken in ways that no hash finds, and then whole ones.
void expect_only_it_is_lost(CacheWorld& world, ResultCache& cache) {
  EXPECT_FALSE(cache.get(key_of(1)));
  cache.put(key_of(1), output_of(key_of(1)));
  cache.put(key_of(1), output_of(key_of(1)));
  ASSERT_EQ(world.warnings.size(), 1u) << world.warnings.back();
  EXPECT_NE(world.warnings[0].find(key_of(1)), std::string::npos) << world.warnings[0];
  EXPECT_EQ(world.warnings[0].find("--output"), std::string::npos) << world.warnings[0];
  EXPECT_TRUE(cache.get(key_of(2))) << "another's trouble";
  cache.put(key_of(3), output_of(key_of(3)));
  EXPECT_TRUE(cache.get(key_of(3)));
  cache.trim();
  EXPECT_EQ(world.warnings.size(), 1u) << world.warnings.back();
}

TEST(CacheTrouble, MakesAnUnreadableEntryAgain) {
  CacheWorld world;
  auto cache = world.cache();
  cache.put(key_of(2), output_of(key_of(2)));
  for (const bool folder : {true, false}) {
    fs::create_directories(world.file(key_of(1)).parent_path());
    if (folder)
      fs::create_directory(world.file(key_of(1)));
    else
      fs::create_symlink("elsewhere", world.file(key_of(1)));
    expect_only_it_is_lost(world, cache);
    EXPECT_TRUE(cache.get(key_of(1)));
    fs::remove(world.file(key_of(1)));
    world.warnings.clear();
  }
}

TEST(CacheTrouble, GoesOnWithoutAnEntryThatCannotBeReplaced) {
  CacheWorld world;
  auto cache = world.cache();
  cache.put(key_of(2), output_of(key_of(2)));
  const fs::path mine = world.file(key_of(1)) / "notes.txt";
  fs::create_directories(mine.parent_path());
  std::ofstream(mine) << "mine";
  EXPECT_FALSE(cache.get(key_of(1)));
  cache.put(key_of(1), output_of(key_of(1)));
  ASSERT_EQ(world.warnings.size(), 1u);
  EXPECT_NE(world.warnings[0].find("--cache-dir DIR"), std::string::npos) << world.warnings[0];
  EXPECT_TRUE(cache.get(key_of(2)));

  const CacheCheck check = cache.remove_damaged();
  EXPECT_EQ(check.sound, 1);
  EXPECT_TRUE(check.removed.empty());
  ASSERT_EQ(check.stuck.size(), 1u);
  EXPECT_NE(check.stuck[0].find(key_of(1)), std::string::npos);
  const CacheClearing clearing = cache.clear();
  EXPECT_EQ(clearing.removed.entries, 1);
  EXPECT_EQ(clearing.stuck, check.stuck);
  EXPECT_TRUE(fs::exists(mine));
  fs::remove(mine);
  EXPECT_TRUE(cache.clear().stuck.empty());
  EXPECT_FALSE(fs::exists(world.file(key_of(1))));
}

// A file where a folder of entries would be.
TEST(CacheTrouble, GoesOnWithoutAFolderOfEntries) {
  CacheWorld world;
  auto cache = world.cache();
  cache.put(key_of(2), output_of(key_of(2)));
  std::ofstream(world.file(key_of(1)).parent_path()) << "in the way";
  EXPECT_FALSE(cache.get(key_of(1)));
  cache.put(key_of(1), output_of(key_of(1)));
  EXPECT_EQ(world.warnings.size(), 1u);
  EXPECT_EQ(cache.stats().entries, 1);
  cache.trim();
  EXPECT_EQ(cache.remove_damaged().removed.size(), 1u);
  cache.put(key_of(1), output_of(key_of(1)));
  EXPECT_TRUE(cache.get(key_of(1)));
  EXPECT_EQ(world.warnings.size(), 1u);
}

// As a user without rights finds it: root has all of them.
TEST(CacheTrouble, MakesAnEntryWithoutTheRightToReadAgain) {
  CacheWorld world;
  fs::permissions(world.folder.path(), fs::perms::all);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) ::_exit(77);
    {
      auto cache = world.cache();
      for (const int64_t i : {1, 2}) cache.put(key_of(i), output_of(key_of(i)));
      fs::permissions(world.file(key_of(1)), fs::perms::none);
      if (cache.get(key_of(1)) || world.warnings.size() != 1) ::_exit(1);
      cache.put(key_of(1), output_of(key_of(1)));
      if (!cache.get(key_of(1)) || !cache.get(key_of(2))) ::_exit(2);
      // Nothing can be replaced below a folder that may not be written to.
      fs::permissions(world.file(key_of(1)), fs::perms::none);
      const fs::path inside = world.file(key_of(1)).parent_path();
      fs::permissions(inside, fs::perms::owner_read | fs::perms::owner_exec);
      if (cache.get(key_of(1))) ::_exit(3);
      cache.put(key_of(1), output_of(key_of(1)));
      if (world.warnings.size() != 2 || cache.remove_damaged().stuck.size() != 1) ::_exit(4);
      if (!cache.get(key_of(2)) || cache.clear().stuck.size() != 1) ::_exit(5);
      fs::permissions(inside, fs::perms::owner_all);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "cannot become another user here";
  EXPECT_EQ(status, 0) << "stopped at check " << WEXITSTATUS(status);
}

TEST(CacheTrouble, NamesOnlySomeOfManyUnreadableEntries) {
  CacheWorld world;
  auto cache = world.cache();
  for (int64_t i = 0; i < 30; ++i) fs::create_directories(world.file(key_of(i)));
  for (int64_t i = 0; i < 30; ++i) EXPECT_FALSE(cache.get(key_of(i)));
  EXPECT_EQ(world.warnings.size(), 9u);
  EXPECT_NE(world.warnings.back().find("cache verify"), std::string::npos);
}

TEST(CacheTrouble, ReportsTroubleOfItsFolderOnceAndGoesOn) {
  CacheWorld world;
  auto cache = world.cache();
  fs::remove_all(world.folder / "cache" / "entries");
  std::ofstream(world.folder / "cache" / "entries") << "in the way";
  for (int64_t i = 0; i < 3; ++i) cache.put(key_of(i), output_of(key_of(i)));
  ASSERT_EQ(world.warnings.size(), 1u);
  for (int64_t i = 0; i < 3; ++i) EXPECT_FALSE(cache.get(key_of(i)));
  EXPECT_EQ(world.warnings.size(), 2u);
  EXPECT_THROW(ResultCache(world.folder / "cache" / "entries", {}, "1.0", [](const auto&) {}),
               EnvironmentError);
}

}  // namespace
}  // namespace backlot
