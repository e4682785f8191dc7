#include "text/prompt_weights.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace backlot {
namespace {

// "text@weight|text@weight"
std::string parsed(std::string_view prompt) {
  std::string out;
  for (const auto& part : parse_weights(prompt))
    out += fmt::format("{}{}@{:.4g}", out.empty() ? "" : "|", part.text, part.weight);
  return out;
}

TEST(ParseWeights, ReadsEveryForm) {
  EXPECT_EQ(parsed("a red apple"), "a red apple@1");
  EXPECT_EQ(parsed("a (red) apple"), "a @1|red@1.1| apple@1");
  EXPECT_EQ(parsed("a (red:1.3) apple"), "a @1|red@1.3| apple@1");
  EXPECT_EQ(parsed("a [red] apple"), "a @1|red@0.9091| apple@1");
  EXPECT_EQ(parsed("(red: 1.3 )"), "red@1.3");
  EXPECT_EQ(parsed("(red:+.5)(green:2.)(blue:-1)"), "red@0.5|green@2|blue@-1");
  EXPECT_EQ(parsed(""), "");
}

TEST(ParseWeights, MultipliesNestedWeights) {
  EXPECT_EQ(parsed("((red))"), "red@1.21");
  EXPECT_EQ(parsed("(a (b:2) c:1.5)"), "a @1.5|b@3| c@1.5");
  EXPECT_EQ(parsed("[[a]b]"), "a@0.8264|b@0.9091");
  EXPECT_EQ(parsed("([same])"), "same@1");
}

TEST(ParseWeights, ReadsAWeightOnlyWhereOneStands) {
  EXPECT_EQ(parsed("(a:b)"), "a:b@1.1");
  EXPECT_EQ(parsed("(a:1.3x)"), "a:1.3x@1.1");
  EXPECT_EQ(parsed("(a:1:2)"), "a:1@2");
  EXPECT_EQ(parsed("[a:1.3]"), "a:1.3@0.9091");
  EXPECT_EQ(parsed("(a:(1.3))"), "a:@1.1|1.3@1.21");
  EXPECT_EQ(parsed("(a:1e3)"), "a:1e3@1.1");
  EXPECT_EQ(parsed("(a:nan)(b:)"), "a:nanb:@1.1");
  EXPECT_EQ(parsed("a:1.3"), "a:1.3@1");
}

TEST(ParseWeights, LeavesBracketsWithoutAPartnerAlone) {
  EXPECT_EQ(parsed("a smile :) here"), "a smile :) here@1");
  EXPECT_EQ(parsed("(a"), "(a@1");
  EXPECT_EQ(parsed("a] (b"), "a] (b@1");
  EXPECT_EQ(parsed("((a)"), "(@1|a@1.1");
  EXPECT_EQ(parsed("(a [b)"), "a [b@1.1");
  EXPECT_EQ(parsed("[a (b]"), "a (b@0.9091");
  EXPECT_EQ(parsed("(a [b) c]"), "a [b@1.1| c]@1");
  EXPECT_EQ(parsed("()[]"), "");
}

TEST(ParseWeights, TakesEscapedBracketsLiterally) {
  EXPECT_EQ(parsed(R"(cat \(animal\))"), "cat (animal)@1");
  EXPECT_EQ(parsed(R"((cat \(animal\):1.2))"), "cat (animal)@1.2");
  EXPECT_EQ(parsed(R"(\[a\] \\ b)"), "[a] \\ b@1");
  EXPECT_EQ(parsed(R"(back\slash \)"), "back\\slash \\@1");
  EXPECT_EQ(parsed(R"((a:1.\)3))"), "a:1.)3@1.1");
}

TEST(ParseWeights, LimitsWeights) {
  EXPECT_EQ(parsed("(a:1000)(b:-11)"), "a@10|b@-10");
  EXPECT_EQ(parsed("(a:" + std::string(400, '9') + ")"), "a@10");
  const std::string deep(100000, '(');
  EXPECT_EQ(parsed(deep + "a" + std::string(100000, ')')), "a@10");
  EXPECT_EQ(parsed(deep + "(a:0)" + std::string(100000, ')')), "a@0");
}

TEST(ParseWeights, KeepsTextWithoutSyntaxAndNeverFails) {
  EXPECT_TRUE(rc::check([] {
    const auto text = *rc::gen::container<std::string>(rc::gen::element('a', ' ', ':', '.', '1'));
    RC_ASSERT(parsed(text) == (text.empty() ? "" : text + "@1"));
  }));
  EXPECT_TRUE(rc::check([] {
    const auto text =
        *rc::gen::container<std::string>(rc::gen::element('a', '(', ')', '[', ']', ':', '1', '\\'));
    float last = 0;
    for (const auto& part : parse_weights(text)) {
      RC_ASSERT(!part.text.empty());
      RC_ASSERT(part.weight >= -10 && part.weight <= 10 && part.weight != last);
      last = part.weight;
    }
  }));
}

}  // namespace
}  // namespace backlot
