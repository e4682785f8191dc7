#include "run/result_cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <set>

#include "base/error.h"
#include "run/cache_world.h"
#include "support/faults.h"

namespace backlot {
namespace {

using faults::Kind;

TEST(ResultCache, GivesBackWhatWasPut) {
  CacheWorld world;
  auto cache = world.cache();
  EXPECT_FALSE(cache.get(key_of(1)));
  CachedOutput put = output_of(key_of(1));
  put.attempt.warnings = {"prompt cut"};
  cache.put(key_of(1), put);
  const auto got = world.cache().get(key_of(1));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->bytes, put.bytes);
  EXPECT_EQ(got->sha256, put.sha256);
  EXPECT_EQ(got->width, 64);
  EXPECT_EQ(got->height, 32);
  EXPECT_EQ(got->attempt.started, put.attempt.started);
  EXPECT_EQ(got->attempt.seconds(), put.attempt.seconds());
  EXPECT_EQ(got->attempt.device, "cpu");
  EXPECT_EQ(got->attempt.warnings, put.attempt.warnings);
  EXPECT_TRUE(got->attempt.cached);
  EXPECT_EQ(got->attempt.tries, 0);
  EXPECT_TRUE(world.warnings.empty());
}

TEST(ResultCache, KeyIsAllThatDecidesTheBytes) {
  const Item item = fake::item(0, "p");
  const MadeWith how{.device = "cpu", .dtype = "float32"};
  const OutputSettings png;
  std::set<std::string> keys{cache_key(item, png, how, "1")};
  const auto differs = [&](const Item& i, const OutputSettings& o, const MadeWith& h,
                           const char* version) {
    EXPECT_TRUE(keys.insert(cache_key(i, o, h, version)).second);
  };
  differs(fake::item(1, "p"), png, how, "1");
  differs(item, png, how, "2");
  differs(item, png, {.device = "cuda", .dtype = "float32"}, "1");
  differs(item, png, {.device = "cpu", .dtype = "bfloat16"}, "1");
  differs(item, png, {.device = "cpu", .dtype = "float32", .quantization = "int8"}, "1");
  OutputSettings jpeg{.format = "jpeg"};
  differs(item, jpeg, how, "1");
  jpeg.quality = 50;
  differs(item, jpeg, how, "1");
  differs(item, {.max_bytes = 1000}, how, "1");
  differs(item, {.metadata = false}, how, "1");
  Item renamed = item;
  renamed.model = "/elsewhere/other-name";
  differs(renamed, png, how, "1");

  // What does not: where things lie, what outputs are called, a quality that PNG has not.
  Item moved = item;
  moved.model = "/elsewhere/pocket-xl";
  moved.output = "images/another.png";
  EXPECT_EQ(cache_key(moved, {.name = "x", .quality = 10, .quota = 5}, how, "1"),
            cache_key(item, png, how, "1"));
}

TEST(ResultCache, FindsDamageWhereverItIs) {
  CacheWorld world;
  const std::string key = key_of(7);
  auto cache = world.cache();
  cache.put(key, output_of(key, 300));
  const std::string whole = read_file(world.file(key));
  for (size_t at = 0; at < whole.size(); at += 7) {
    std::string broken = whole;
    broken[at] = static_cast<char>(broken[at] ^ 0x10);
    std::ofstream(world.file(key), std::ios::binary) << broken;
    EXPECT_FALSE(cache.get(key)) << "byte " << at;
    EXPECT_FALSE(fs::exists(world.file(key))) << "byte " << at;
  }
  for (const size_t size : {size_t{0}, size_t{64}, whole.size() / 2, whole.size() - 1}) {
    std::ofstream(world.file(key), std::ios::binary) << whole.substr(0, size);
    EXPECT_FALSE(cache.get(key)) << size << " bytes";
  }
  std::ofstream(world.file(key), std::ios::binary) << whole + "x";
  EXPECT_FALSE(cache.get(key));
  EXPECT_EQ(world.warnings.size(), (whole.size() + 6) / 7 + 5);
  EXPECT_NE(world.warnings.front().find(key), std::string::npos);

  // An entry that lies under another's name is not that other's.
  cache.put(key, output_of(key));
  fs::create_directories(world.file(key_of(8)).parent_path());
  fs::copy_file(world.file(key), world.file(key_of(8)));
  EXPECT_FALSE(cache.get(key_of(8)));
  cache.put(key, output_of(key));
  EXPECT_TRUE(cache.get(key));
}

TEST(ResultCache, LetsGoFirstOfWhatWasUnusedForLongest) {
  CacheWorld world;
  {
    auto cache = world.cache();
    for (int64_t i = 0; i < 20; ++i) cache.put(key_of(i), output_of(key_of(i)));
  }
  for (int64_t i = 0; i < 20; ++i) world.last_used(key_of(i), std::chrono::minutes(100 - i));
  const uint64_t each = fs::file_size(world.file(key_of(0)));
  auto cache = world.cache({.max_bytes = 10 * each + each / 2});
  EXPECT_TRUE(cache.get(key_of(0)));  // now the one used last
  cache.put(key_of(20), output_of(key_of(20)));
  std::set<int64_t> kept;
  for (int64_t i = 0; i <= 20; ++i)
    if (fs::exists(world.file(key_of(i)))) kept.insert(i);
  EXPECT_EQ(kept, (std::set<int64_t>{0, 13, 14, 15, 16, 17, 18, 19, 20}));
  EXPECT_LE(cache.stats().bytes, 10 * each);
  EXPECT_EQ(cache.stats().entries, 9);

  // One that would push all others out is not kept.
  cache.put(key_of(99), output_of(key_of(99), 20 * each));
  EXPECT_FALSE(cache.get(key_of(99)));
  EXPECT_EQ(cache.stats().entries, 9);
}

TEST(ResultCache, LetsGoOfWhatIsOld) {
  CacheWorld world;
  auto cache = world.cache({.max_age = 3600});
  for (int64_t i = 0; i < 3; ++i) cache.put(key_of(i), output_of(key_of(i)));
  world.last_used(key_of(0), std::chrono::hours(2));
  world.last_used(key_of(1), std::chrono::hours(2));
  EXPECT_FALSE(cache.get(key_of(0)));
  EXPECT_FALSE(fs::exists(world.file(key_of(0))));
  cache.trim();
  EXPECT_FALSE(fs::exists(world.file(key_of(1))));
  EXPECT_TRUE(cache.get(key_of(2)));
}

TEST(ResultCache, HoldsItsSizeWithoutBeingAsked) {
  CacheWorld world;
  auto cache = world.cache({.max_bytes = 100'000});
  for (int64_t i = 0; i < 300; ++i) {
    cache.put(key_of(i), output_of(key_of(i)));
    if (i % 10 == 0) {
      EXPECT_LE(cache.stats().bytes, 100'000u);
    }
    ASSERT_TRUE(cache.get(key_of(i))) << "what was just put is gone";
  }
  EXPECT_GT(cache.stats().bytes, 80'000u);
}

TEST(ResultCache, RefusesAFolderThatHoldsSomethingElse) {
  CacheWorld world;
  fs::create_directories(world.folder / "cache");
  std::ofstream(world.folder / "cache" / "thesis.txt") << "important";
  EXPECT_THROW(world.cache(), EnvironmentError);
  fs::remove(world.folder / "cache" / "thesis.txt");
  std::ofstream(world.folder / "cache" / "backlot-cache.json") << R"({"version": 2})";
  EXPECT_THROW(world.cache(), EnvironmentError);
  EXPECT_FALSE(is_cache(world.folder / "nowhere"));
}

TEST(ResultCache, ClearsOnlyWhatIsItsOwn) {
  CacheWorld world;
  auto cache = world.cache();
  for (int64_t i = 0; i < 5; ++i) cache.put(key_of(i), output_of(key_of(i)));
  const fs::path foreign = world.file(key_of(0)).parent_path() / "notes.txt";
  std::ofstream(foreign) << "mine";
  std::ofstream(world.folder / "cache" / "README") << "mine too";
  EXPECT_EQ(cache.clear().removed.entries, 5);
  EXPECT_EQ(cache.stats().entries, 0);
  EXPECT_TRUE(fs::exists(foreign));
  EXPECT_TRUE(fs::exists(world.folder / "cache" / "README"));
  EXPECT_NO_THROW(world.cache());
}

// One process among several: puts, gets and makes room. Ends with 1 if a hit is not what was put.
[[noreturn]] void be_one_of_several(const fs::path& folder, unsigned seed, int rounds) {
  std::mt19937 random(seed);
  int wrong = 0;
  {
    ResultCache cache(folder, {.max_bytes = 60'000}, "1.0",
                      [&](const std::string& text) { wrong += text.size() > 0; });
    for (int round = 0; round < rounds; ++round) {
      const std::string key = key_of(random() % 100);
      if (const auto hit = cache.get(key)) {
        wrong += hit->bytes != output_of(key).bytes;
      } else {
        cache.put(key, output_of(key));
      }
      if (round % 50 == 0) cache.trim();
    }
  }
  ::syscall(SYS_exit_group, wrong ? 1 : 0);
  ::_exit(1);
}

TEST(ResultCache, IsSafeForManyProcesses) {
  CacheWorld world;
  std::vector<pid_t> children;
  for (unsigned i = 0; i < 8; ++i) {
    children.push_back(::fork());
    if (children.back() == 0) be_one_of_several(world.folder / "cache", i, 400);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "a wrong hit or a warning";
  }
  auto cache = world.cache({.max_bytes = 60'000});
  EXPECT_TRUE(cache.remove_damaged().removed.empty());
  cache.trim();
  EXPECT_LE(cache.stats().bytes, 60'000u);
  EXPECT_GT(cache.stats().entries, 20);
}

TEST(ResultCache, OutlivesProcessesKilledAtRandomMoments) {
  CacheWorld world;
  std::mt19937 random(5);
  for (int round = 0; round < 40; ++round) {
    const pid_t child = ::fork();
    if (child == 0)
      be_one_of_several(world.folder / "cache", static_cast<unsigned>(round), 1 << 20);
    ::usleep(static_cast<useconds_t>(500 + random() % 15'000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  auto cache = world.cache();
  EXPECT_TRUE(cache.remove_damaged().removed.empty());
  EXPECT_GT(cache.stats().entries, 0);
  EXPECT_TRUE(world.warnings.empty());
}

// Every single disk operation of putting, using and evicting goes wrong once.
class CacheOperations : public ::testing::TestWithParam<Kind> {};

int use_cache_with_fault(const fs::path& folder, Kind kind, int64_t at) {
  const pid_t child = ::fork();
  if (child == 0) {
    int status = 0;
    faults::arm(kind, at);
    try {
      ResultCache cache(folder, {.max_bytes = 5000}, "1.0", [](const std::string&) {});
      for (int64_t i = 0; i < 6; ++i) {
        cache.put(key_of(i), output_of(key_of(i)));
        if (const auto hit = cache.get(key_of(i)); hit && hit->bytes != output_of(key_of(i)).bytes)
          status = 50;
      }
    } catch (const EnvironmentError&) {
      status = 3;  // it could not even be opened
    } catch (...) {
      status = 99;
    }
    ::syscall(SYS_exit_group, status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_P(CacheOperations, CanGoWrongAndNoHitIsWrong) {
  CacheWorld world;
  ASSERT_EQ(use_cache_with_fault(world.folder / "counted", Kind::count, 0), 0);
  const int64_t operations = faults::calls();
  ASSERT_GT(operations, 30);
  for (int64_t at = 1; at <= operations && !HasFailure(); ++at) {
    SCOPED_TRACE(fmt::format("operation {} of {}", at, operations));
    const int status = use_cache_with_fault(world.folder / "cache", GetParam(), at);
    if (GetParam() == Kind::kill || GetParam() == Kind::power_loss) {
      EXPECT_EQ(status, faults::killed_status);
    } else {
      EXPECT_TRUE(status == 0 || status == 3) << status;
    }
    auto cache = world.cache();
    for (int64_t i = 0; i < 6; ++i)
      if (const auto hit = cache.get(key_of(i))) {
        EXPECT_EQ(hit->bytes, output_of(key_of(i)).bytes);
      }
    cache.put(key_of(1), output_of(key_of(1)));
    EXPECT_TRUE(cache.get(key_of(1)));
    EXPECT_TRUE(world.warnings.empty()) << world.warnings.front();
    fs::remove_all(world.folder / "cache");
  }
}

INSTANTIATE_TEST_SUITE_P(Each, CacheOperations,
                         ::testing::Values(Kind::kill, Kind::power_loss, Kind::no_space,
                                           Kind::io_error, Kind::interrupted, Kind::short_write));

}  // namespace
}  // namespace backlot
