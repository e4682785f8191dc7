// --slurm-args.
#include <gtest/gtest.h>

#include "slurm/client.h"

namespace backlot {
namespace {

using Words = std::vector<std::string>;

std::string complaint(const std::string& text) {
  try {
    split_slurm_arguments(text);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "none";
}

TEST(SlurmArguments, SplitAsAShellWould) {
  EXPECT_EQ(split_slurm_arguments(""), Words{});
  EXPECT_EQ(split_slurm_arguments("  --partition=gpu   --gres=gpu:1 "),
            (Words{"--partition=gpu", "--gres=gpu:1"}));
  EXPECT_EQ(split_slurm_arguments(R"(--constraint="a100|h100" --comment='two words' a\ b)"),
            (Words{"--constraint=a100|h100", "--comment=two words", "a b"}));
  EXPECT_EQ(split_slurm_arguments(R"(--comment="a \"b\" c" '' 'it'\''s')"),
            (Words{"--comment=a \"b\" c", "", "it's"}));
}

TEST(SlurmArguments, ExpandNothing) {
  EXPECT_EQ(split_slurm_arguments("--mem=$HOME --account=`id` *"),
            (Words{"--mem=$HOME", "--account=`id`", "*"}));
}

TEST(SlurmArguments, AnOpenQuoteIsRefused) {
  EXPECT_NE(complaint("--comment='two words").find("is not closed"), std::string::npos);
}

TEST(SlurmArguments, WhatWouldTakeTheJobOutOfBacklotsHandsIsRefused) {
  for (const std::string text :
       {"--array=1-9", "--array 1-9", "--arra=1-9", "-a 1-9", "-a1-9", "--wait", "-W", "--output=x",
        "-o x", "--job-name=x", "-J x", "--wrap=true", "-D /tmp", "--test-only", "-p gpu -M other"})
    EXPECT_NE(complaint(text).find("is backlot's to set"), std::string::npos) << text;
  for (const std::string text : {"--partition=gpu", "-p gpu", "--time=1:00:00", "--mem=16G",
                                 "--wait-all-nodes=1", "--array-like", "--comment=x", "-A team"})
    EXPECT_EQ(complaint(text), "none") << text;
}

}  // namespace
}  // namespace backlot
