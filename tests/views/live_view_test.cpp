// What a terminal shows of a fleet, at several widths.
#include "live_view.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace backlot {
namespace {

WorkerView working(const std::string& name) {
  WorkerView view;
  view.name = name;
  view.device = "cpu";
  view.state = WorkerState::working;
  view.stage = "denoise";
  view.step = 12;
  view.steps = 20;
  view.batch = 4;
  view.done = 8;
  view.resident_bytes = uint64_t{1} << 30;
  view.temperature_c = 61.6;
  view.utilisation = 0.97;
  return view;
}

LiveState two_workers() {
  LiveState state;
  state.counts.name = "fruit-sheet";
  state.counts.items = 40;
  state.counts.done = 8;
  state.counts.failed = 2;
  state.seconds = 20;
  state.workers.push_back({working("cpu-0"), "images/00012-a-red-apple-7.png", 4});
  WorkerView ended;
  ended.name = "cpu-1";
  ended.device = "cpu";
  ended.state = WorkerState::ended;
  ended.reason = "ended by signal 9 (Killed)";
  state.workers.push_back({ended, "", 0});
  return state;
}

std::vector<std::string> text_of(const std::vector<LiveLine>& lines) {
  std::vector<std::string> text;
  for (const auto& line : lines) {
    text.push_back(line.text);
    EXPECT_EQ(display_width(line.text), line.columns) << line.text;
  }
  return text;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(LiveView, WideTerminalsGetEverything) {
  const auto lines = text_of(live_lines(two_workers(), {120, 24}, false));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0],
            "cpu-0  denoise 12/20 ×4  2.0/s  1.0 GiB  62°C  97%  images/00012-a-red-apple-7.png");
  EXPECT_EQ(lines[1].substr(0, 12), "cpu-1  ended");
  EXPECT_TRUE(holds(lines[1], "ended by signal 9 (Killed)"));
  // What stands below each other belongs together.
  EXPECT_EQ(display_width(lines[0].substr(0, lines[0].find("images/"))),
            display_width(lines[1].substr(0, lines[1].find("ended by"))));
  EXPECT_TRUE(holds(lines[2], "fruit-sheet  ███████░░░")) << lines[2];
  EXPECT_TRUE(holds(lines[2], "10/40  2 failed")) << lines[2];
  EXPECT_TRUE(holds(lines[2], "to go")) << lines[2];
  EXPECT_TRUE(holds(lines[2], "30 left  30.0/min")) << lines[2];
}

TEST(LiveView, NarrowTerminalsGetWhatMatters) {
  const auto lines = text_of(live_lines(two_workers(), {44, 24}, false));
  EXPECT_FALSE(holds(lines[0], "97%")) << lines[0];
  EXPECT_FALSE(holds(lines[0], "62°C")) << lines[0];
  EXPECT_TRUE(holds(lines[0], "denoise 12/20 ×4")) << lines[0];
  EXPECT_TRUE(holds(lines[0], "…")) << lines[0];
  EXPECT_TRUE(holds(lines[2], "10/40")) << lines[2];
}

TEST(LiveView, NoLineIsWiderThanTheTerminal) {
  auto state = two_workers();
  state.counts.name = "ein-sehr-langer-名前-für-einen-lauf";
  state.workers[0].item = "images/赤いりんご赤いりんご赤いりんご.png";
  for (int columns = 1; columns < 140; ++columns)
    for (const auto& line : live_lines(state, {columns, 24}, false)) {
      EXPECT_EQ(display_width(line.text), line.columns) << line.text;
      EXPECT_LE(line.columns, std::max(1, columns - 1)) << columns << ": " << line.text;
    }
}

TEST(LiveView, MoreWorkersThanRowsAreCounted) {
  auto state = two_workers();
  for (int i = 2; i < 40; ++i)
    state.workers.push_back({working("cpu-" + std::to_string(i)), "images/x.png", 1});
  for (const int rows : {1, 3, 5, 10, 24}) {
    const auto lines = text_of(live_lines(state, {80, rows}, false));
    EXPECT_LE(static_cast<int>(lines.size()), std::max(1, rows - 2)) << rows;
    EXPECT_TRUE(holds(lines.back(), "10/40")) << rows;
  }
  const auto lines = text_of(live_lines(state, {80, 10}, false));
  EXPECT_EQ(lines[lines.size() - 2], "and 34 more");
}

TEST(LiveView, ColoursTakeNoRoom) {
  const auto plain = live_lines(two_workers(), {80, 24}, false);
  const auto coloured = live_lines(two_workers(), {80, 24}, true);
  ASSERT_EQ(plain.size(), coloured.size());
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(plain[i].columns, coloured[i].columns);
  for (const auto& line : plain) EXPECT_FALSE(holds(line.text, "\x1b"));
  EXPECT_TRUE(holds(coloured[1].text, "\x1b[31mended\x1b[0m")) << coloured[1].text;
}

TEST(LiveView, WhatAModelOrAPathSaysCannotMoveTheCursor) {
  auto state = two_workers();
  state.workers[0].item = "images/\x1b[2J\n.png";
  state.workers[1].view.reason = "bad\x1b]0;title\x07";
  for (const auto& line : live_lines(state, {120, 24}, false)) {
    EXPECT_FALSE(holds(line.text, "\x1b")) << line.text;
    EXPECT_FALSE(holds(line.text, "\n")) << line.text;
  }
}

TEST(LiveView, AQueueOfUnknownLengthHasNoBar) {
  auto state = two_workers();
  state.counts.items.reset();
  state.counts.waiting = 5;
  const auto lines = text_of(live_lines(state, {100, 24}, false));
  EXPECT_EQ(lines.back(), "fruit-sheet  10 done  2 failed  5 left  30.0/min");
}

TEST(LiveView, GpusShowTheDevicesMemory) {
  auto state = two_workers();
  auto& view = state.workers[0].view;
  view.device = "cuda:0";
  view.device_memory_bytes = uint64_t{80} << 30;
  view.device_free_bytes = uint64_t{60} << 30;
  EXPECT_TRUE(holds(text_of(live_lines(state, {120, 24}, false))[0], "20.0 GiB"));
}

TEST(LiveView, TextIsCutByColumnsNotBytes) {
  EXPECT_EQ(display_width("×4"), 2);
  EXPECT_EQ(display_width("赤い"), 4);
  EXPECT_EQ(clipped("赤いりんご", 6), "赤い…");
  EXPECT_EQ(clipped("apple", 5), "apple");
  EXPECT_EQ(clipped("apples", 5), "appl…");
  EXPECT_EQ(clipped("apples", 0), "");
}

TEST(Progress, DurationsAndRatesAreShort) {
  EXPECT_EQ(duration(59.4), "59s");
  EXPECT_EQ(duration(185), "3m05s");
  EXPECT_EQ(duration(7800), "2h10m");
  EXPECT_EQ(rate(0, 10), "");
  EXPECT_EQ(rate(20, 10), "2.0/s");
  EXPECT_EQ(rate(3, 60), "3.0/min");
  EXPECT_EQ(rate(1, 1800), "2.0/h");
}

}  // namespace
}  // namespace backlot
