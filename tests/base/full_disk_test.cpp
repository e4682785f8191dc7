// Durable writes on a file system that fills up. Needs the right to mount one.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

// A tmpfs of 64 KiB for the time of a test.
class SmallDisk : public testing::Test {
 protected:
  void SetUp() override {
    if (::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=64k") != 0)
      GTEST_SKIP() << "cannot mount a tmpfs: " << std::strerror(errno);
    mounted_ = true;
  }
  void TearDown() override {
    if (!mounted_) return;
    EXPECT_EQ(::umount(folder_.path().c_str()), 0) << std::strerror(errno);
  }

  TemporaryFolder folder_;
  bool mounted_ = false;
};

TEST_F(SmallDisk, KeepsTheOldFileWhenTheDiskIsFull) {
  write_file_durably(folder_ / "a", std::string(20000, 'o'));
  try {
    write_file_durably(folder_ / "a", std::string(100000, 'n'));
    FAIL() << "100 kB fitted on a 64 KiB disk";
  } catch (const EnvironmentError& error) {
    EXPECT_EQ(error.code(), ExitCode::environment);
    EXPECT_EQ(error.where(), (folder_ / "a").string());
    EXPECT_NE(error.problem().find(std::strerror(ENOSPC)), std::string::npos) << error.what();
    EXPECT_FALSE(error.mend().empty());
  }
  EXPECT_EQ(read_file(folder_ / "a"), std::string(20000, 'o'));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
  write_file_durably(folder_ / "b", std::string(20000, 'b'));
  EXPECT_EQ(fs::file_size(folder_ / "b"), 20000u);
}

TEST_F(SmallDisk, WritesNothingOnAReadOnlyDisk) {
  write_file_durably(folder_ / "a", "old");
  ASSERT_EQ(::mount("", folder_.path().c_str(), "", MS_REMOUNT | MS_RDONLY, ""), 0);
  EXPECT_THROW(write_file_durably(folder_ / "a", "new"), EnvironmentError);
  EXPECT_THROW(make_folders(folder_ / "b" / "c"), EnvironmentError);
  EXPECT_EQ(read_file(folder_ / "a"), "old");
}

}  // namespace
}  // namespace backlot
