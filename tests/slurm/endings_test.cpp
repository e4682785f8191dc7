// How a task's end is told.
#include "slurm/endings.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/temporary_folder.h"

namespace backlot {
namespace {

class TellingLine : public ::testing::Test {
 protected:
  std::string of(const std::string& log) {
    fs::create_directories(folder / "journal");
    std::ofstream(folder / "journal" / "slurm-12_3.log") << log;
    return telling_line(RootedFolder(folder.path()), "12", 3);
  }
  TemporaryFolder folder;
};

TEST_F(TellingLine, IsTheLastErrorEvenIfMoreWasSaidAfterIt) {
  EXPECT_EQ(of("backlot: [1/6] images/0.png\n"
               "backlot: error: models/x: has no unet; check the folder\n"
               "backlot: fruit: 1 of 6 done\n"),
            "models/x: has no unet; check the folder");
  EXPECT_EQ(of("slurmstepd-n1: error: Detected 1 oom-kill event(s) in StepId=12.batch.\n"),
            "Detected 1 oom-kill event(s) in StepId=12.batch.");
}

TEST_F(TellingLine, IsElseTheLastLine) {
  EXPECT_EQ(of("one\ntwo\n\n"), "two");
  EXPECT_EQ(of(""), "");
  EXPECT_EQ(telling_line(RootedFolder(folder.path()), "12", 4), "");
}

TEST_F(TellingLine, OfALongLogIsFoundAtItsEnd) {
  EXPECT_EQ(of(std::string(1 << 20, 'x') + "\nbacklot: error: late\n"), "late");
}

TEST_F(TellingLine, CannotDriveATerminal) { EXPECT_EQ(of("\x1b[31mred\n"), "\\x1b[31mred"); }

TEST(Ending, InWords) {
  EXPECT_EQ(ending_in_words(SlurmEnd{"OUT_OF_MEMORY", 0, 125}, ""),
            "ran out of the memory it was given");
  EXPECT_EQ(ending_in_words(SlurmEnd{"CANCELLED", 0, 15}, "noise"), "was cancelled");
  EXPECT_EQ(ending_in_words(SlurmEnd{"FAILED", 3, 0}, "models/x: is missing"),
            "ended with exit code 3: models/x: is missing");
  EXPECT_EQ(ending_in_words(SlurmEnd{"FAILED", 0, 9}, ""), "was ended by signal 9");
  EXPECT_EQ(ending_in_words(SlurmEnd{"FAILED", 143, 0}, "x"),
            "was asked to end, as before its time limit");
  EXPECT_EQ(ending_in_words(std::nullopt, "Killed"),
            "ended, and Slurm no longer knows how: Killed");
}

}  // namespace
}  // namespace backlot
