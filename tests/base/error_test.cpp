#include "base/error.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/text.h"

namespace backlot {
namespace {

TEST(Error, IsOneLineOfWhereWhatAndMend) {
  const SpecError error("night.yaml:14:3", "width 830 is not a multiple of 8", "use 832");
  EXPECT_STREQ(error.what(), "night.yaml:14:3: width 830 is not a multiple of 8; use 832");
  EXPECT_EQ(error.where(), "night.yaml:14:3");
  EXPECT_EQ(error.problem(), "width 830 is not a multiple of 8");
  EXPECT_EQ(error.mend(), "use 832");
}

TEST(Error, LeavesOutWhatIsNotKnown) {
  EXPECT_STREQ(UsageError("", "no such command", "").what(), "no such command");
  EXPECT_STREQ(UsageError("--seed", "not a number", "").what(), "--seed: not a number");
  EXPECT_STREQ(UsageError("", "no such command", "see --help").what(),
               "no such command; see --help");
}

TEST(Error, KeepsHostileTextOnItsLine) {
  EXPECT_TRUE(rc::check([](const std::string& where, const std::string& what) {
    const std::string line = LoadError(where, what + "\n\x1b[2J", "").what();
    RC_ASSERT(is_utf8(line));
    for (const char c : line) RC_ASSERT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
  }));
}

TEST(Error, ExitsByWhoCanMendIt) {
  EXPECT_EQ(UsageError("", "", "").code(), ExitCode::usage);
  EXPECT_EQ(SpecError("", "", "").code(), ExitCode::usage);
  EXPECT_EQ(EnvironmentError("", "", "").code(), ExitCode::environment);
  EXPECT_EQ(LoadError("", "", "").code(), ExitCode::environment);
  EXPECT_EQ(ItemError("", "", "").code(), ExitCode::items_failed);
  EXPECT_EQ(OutOfMemory("", "", "").code(), ExitCode::items_failed);
}

}  // namespace
}  // namespace backlot
