// Journals that others write, read as they grow.
#include "run/journal_follower.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/temporary_folder.h"

namespace backlot {
namespace {

class Follower : public ::testing::Test {
 protected:
  Follower() { fs::create_directories(folder / "journal"); }
  void append(const std::string& journal, const std::string& text) {
    std::ofstream(folder / "journal" / journal, std::ios::app | std::ios::binary) << text;
  }
  static std::string line(const std::string& id, ItemStatus status = ItemStatus::failed) {
    Record record;
    record.id = std::string(64 - id.size(), '0') + id;
    record.status = status;
    record.error = "no";
    return to_json(record).dump() + "\n";
  }
  // The last letters of the ids.
  std::string news() {
    std::string ids;
    for (const auto& record : follower.poll()) ids += record.id.back();
    return ids;
  }
  TemporaryFolder folder;
  RootedFolder root{folder.path()};
  JournalFollower follower{root};
};

TEST_F(Follower, TellsOfEachLineOnceInWhateverJournal) {
  EXPECT_EQ(news(), "");
  append("main.jsonl", line("a") + line("b"));
  EXPECT_EQ(news(), "ab");
  EXPECT_EQ(news(), "");
  append("shard-1-of-2.jsonl", line("c"));
  append("main.jsonl", line("d"));
  EXPECT_EQ(news(), "dc");
}

TEST_F(Follower, WaitsForALinesEnd) {
  const std::string text = line("a");
  append("main.jsonl", text.substr(0, 20));
  EXPECT_EQ(news(), "");
  append("main.jsonl", text.substr(20));
  EXPECT_EQ(news(), "a");
}

TEST_F(Follower, PassesOverWhatIsNoRecord) {
  append("main.jsonl", "not JSON\n{\"engine\": {}}\n" + line("a"));
  append("run.json", line("b"));
  EXPECT_EQ(news(), "a");
}

TEST_F(Follower, SkipsWhatIsFromBefore) {
  append("main.jsonl", line("a"));
  follower.skip_to_end();
  append("main.jsonl", line("b"));
  EXPECT_EQ(news(), "b");
}

TEST_F(Follower, GoesOnInAJournalThatWasCut) {
  append("main.jsonl", line("a") + line("b"));
  EXPECT_EQ(news(), "ab");
  fs::resize_file(folder / "journal" / "main.jsonl", line("a").size());
  EXPECT_EQ(news(), "");
  append("main.jsonl", line("c"));
  EXPECT_EQ(news(), "c");
}

TEST_F(Follower, ReadsAJournalLargerThanItsBufferInParts) {
  std::string text;
  while (text.size() < (9u << 20)) text += line("x");
  append("main.jsonl", text);
  size_t seen = 0, times = 0;
  for (size_t now; (now = news().size()) > 0; ++times) seen += now;
  EXPECT_EQ(seen, text.size() / line("x").size());
  EXPECT_GT(times, 1u);
}

}  // namespace
}  // namespace backlot
