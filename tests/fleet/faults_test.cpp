// What $BACKLOT_FAULT may say.
#include "fleet/faults.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace backlot {
namespace {

std::string refusal_of(std::string_view text) {
  try {
    check_faults(text);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

#ifdef BACKLOT_FAULTS
TEST(Faults, KnownKindsWithAnItemEachAreTaken) {
  for (const char* text : {"", "segfault@7", "kill@0,hang@12,", "abort@1,exit@2,stop@3,error@4"})
    EXPECT_EQ(refusal_of(text), "") << text;
}

TEST(Faults, WhatWouldDoNothingIsRefusedWithTheKindsThatThereAre) {
  for (const char* text : {"bogus@7", "segfault", "segfault@", "segfault@x", "segfault@7x",
                           "segfault@-1", "@7", "kill@1,bogus@2", "segfault@7 "}) {
    const std::string line = refusal_of(text);
    EXPECT_NE(line.find("$BACKLOT_FAULT"), std::string::npos) << text;
    EXPECT_NE(line.find("segfault, abort, kill, exit, hang, stop, error"), std::string::npos)
        << text << ": " << line;
    EXPECT_EQ(line.find('\n'), std::string::npos) << text;
  }
}
#else
TEST(Faults, ABuildWithoutThemSaysSo) {
  EXPECT_EQ(refusal_of(""), "");
  EXPECT_NE(refusal_of("segfault@7").find("this build has no faults"), std::string::npos);
}
#endif

}  // namespace
}  // namespace backlot
