#include "bench/file_speed.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

TEST(FileSpeed, ReadsEveryByteOfEveryFile) {
  TemporaryFolder folder;
  std::ofstream(folder / "a") << std::string(9 << 20, 'a');  // more than two blocks
  std::ofstream(folder / "b") << "b";
  std::ofstream(folder / "empty").flush();
  const std::vector<fs::path> files{folder / "a", folder / "b", folder / "empty"};
  EXPECT_EQ(total_bytes(files), (9u << 20) + 1);
  EXPECT_GT(read_seconds(files, 3, StopSignal::install()), 0);
  EXPECT_GT(resident_share(files), 0.9) << "what was just read is in memory";
}

TEST(FileSpeed, SaysWhetherPagesWereForgotten) {
  TemporaryFolder folder;
  std::ofstream(folder / "a") << std::string(1 << 20, 'a');
  const std::vector<fs::path> files{folder / "a"};
  // A file system may keep its pages; what is said must be what is.
  const bool forgotten = drop_from_page_cache(files);
  EXPECT_EQ(forgotten, resident_share(files) < 0.1);
}

TEST(FileSpeed, AMissingFileIsAnError) {
  EXPECT_THROW(drop_from_page_cache({"/nowhere/at/all"}), EnvironmentError);
}

}  // namespace
}  // namespace backlot
