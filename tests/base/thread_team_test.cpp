#include "base/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace backlot {
namespace {

TEST(ThreadTeam, DoesEveryPieceOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadTeam team(threads);
    EXPECT_EQ(team.threads(), threads);
    for (const int64_t count : {0, 1, 2, 7, 64, 1000, 100'000}) {
      for (const int64_t grain : {1, 3, 64}) {
        std::vector<int> visits(count);
        team.loop(count, grain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) ++visits[i];
        });
        EXPECT_EQ(std::accumulate(visits.begin(), visits.end(), int64_t{0}), count);
        for (const int each : visits) EXPECT_EQ(each, 1);
      }
    }
  }
}

// What one loop wrote, the next one's threads see; helpers that come late take no piece twice.
TEST(ThreadTeam, KeepsManyShortLoopsInOrder) {
  ThreadTeam team(4);
  std::vector<int64_t> values(37, 0);
  constexpr int loops = 20'000;
  for (int i = 0; i < loops; ++i)
    team.loop(static_cast<int64_t>(values.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) ++values[k];
    });
  for (const int64_t value : values) EXPECT_EQ(value, loops);
}

TEST(ThreadTeam, WakesAfterARest) {
  ThreadTeam team(3);
  std::atomic<int64_t> sum{0};
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    team.loop(100, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
  }
  EXPECT_EQ(sum, 2000);
}

}  // namespace
}  // namespace backlot
