// Other programs, run to their end.
#include "slurm/outside_program.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/time.h"

namespace backlot {
namespace {

TEST(OutsideProgram, SaysWhatItSaidAndHowItEnded) {
  const auto result = run_outside({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_FALSE(result.succeeded());
  EXPECT_EQ(run_outside({"sh", "-c", "kill -9 $$"}).exit_code, -1);
}

TEST(OutsideProgram, MuchOutputIsTakenWhole) {
  const auto result = run_outside({"sh", "-c", "head -c 3000000 /dev/zero"});
  EXPECT_EQ(result.out.size(), 3000000u);
  EXPECT_TRUE(result.succeeded());
}

TEST(OutsideProgram, OneThatIsNotThereIsNoError) {
  EXPECT_FALSE(run_outside({"no-such-program-anywhere"}).found);
}

TEST(OutsideProgram, OneThatTakesTooLongIsKilled) {
  const Stopwatch watch;
  ProgramOptions options;
  options.seconds = 0.2;
  const auto result = run_outside({"sleep", "60"}, options);
  EXPECT_FALSE(result.in_time);
  EXPECT_FALSE(result.succeeded());
  EXPECT_LT(watch.seconds(), 30);
}

TEST(OutsideProgram, SeesTheEnvironmentButForWhatIsAbsent) {
  ::setenv("BACKLOT_TEST_SEEN", "1", 1);
  ::setenv("BACKLOT_TEST_UNSEEN", "1", 1);
  ProgramOptions options;
  options.absent = {"BACKLOT_TEST_UNSEEN"};
  const auto result =
      run_outside({"sh", "-c", "echo ${BACKLOT_TEST_SEEN-no} ${BACKLOT_TEST_UNSEEN-no}"}, options);
  EXPECT_EQ(result.out, "1 no\n");
}

}  // namespace
}  // namespace backlot
