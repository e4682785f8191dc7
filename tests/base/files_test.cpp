#include "base/files.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/sha256.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

TEST(WriteDurably, ReplacesWholeAndLeavesNothingElse) {
  TemporaryFolder folder;
  write_file_durably(folder / "a.txt", "one");
  write_file_durably(folder / "a.txt", "two");
  EXPECT_EQ(read_file(folder / "a.txt"), "two");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(WriteDurably, NamesThePathAndTheReason) {
  TemporaryFolder folder;
  try {
    write_file_durably(folder / "missing" / "a.txt", "one");
    FAIL();
  } catch (const EnvironmentError& error) {
    EXPECT_EQ(error.code(), ExitCode::environment);
    EXPECT_NE(std::string(error.what()).find("missing/a.txt"), std::string::npos);
    EXPECT_FALSE(error.mend().empty());
  }
}

TEST(WriteDurably, GivesFilesTheUsualRights) {
  TemporaryFolder folder;
  write_file_durably(folder / "a", "one");
  std::ofstream(folder / "b") << "two";
  EXPECT_EQ(fs::status(folder / "a").permissions(), fs::status(folder / "b").permissions());
}

TEST(WriteDurably, LeavesAFolderInItsWayAlone) {
  TemporaryFolder folder;
  make_folders(folder / "a" / "b");
  EXPECT_THROW(write_file_durably(folder / "a", "one"), EnvironmentError);
  EXPECT_TRUE(fs::is_directory(folder / "a" / "b"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(TemporaryName, IsToldFromOutputs) {
  EXPECT_TRUE(is_temporary_name("images/.backlot-tmp-a1B2c3"));
  EXPECT_FALSE(is_temporary_name("images/00001-apple-7.png"));
  EXPECT_FALSE(is_temporary_name(".backlot-tmp-a1B2c3/00001.png"));
  EXPECT_FALSE(is_temporary_name(".hidden"));
  EXPECT_FALSE(is_temporary_name(""));
}

TEST(MakeFolders, RefusesAFileInTheWay) {
  TemporaryFolder folder;
  write_file_durably(folder / "a", "one");
  EXPECT_THROW(make_folders(folder / "a"), EnvironmentError);
  EXPECT_THROW(make_folders(folder / "a" / "b"), EnvironmentError);
  EXPECT_NO_THROW(make_folders(folder / "c" / "d"));
  EXPECT_NO_THROW(make_folders(folder / "c" / "d"));
}

TEST(ReadFile, RefusesMoreThanItsLimit) {
  TemporaryFolder folder;
  write_file_durably(folder / "a", std::string(100, 'x'));
  EXPECT_EQ(read_file(folder / "a", 100).size(), 100u);
  EXPECT_THROW(read_file(folder / "a", 99), EnvironmentError);
}

TEST(MappedFile, SeesTheBytes) {
  TemporaryFolder folder;
  write_file_durably(folder / "a", "abc");
  EXPECT_EQ(MappedFile(folder / "a").bytes().size(), 3u);
  EXPECT_THROW(MappedFile(folder / "none"), LoadError);
  EXPECT_THROW(MappedFile(folder.path()), LoadError);
}

TEST(Sha256, MatchesThePublishedVector) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  TemporaryFolder folder;
  write_file_durably(folder / "a", "abc");
  EXPECT_EQ(sha256_file(folder / "a"), sha256_hex("abc"));
}

}  // namespace
}  // namespace backlot
