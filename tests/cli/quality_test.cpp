// The options that trade fidelity for speed: off unless asked for, recorded, and close.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/quantization.h"
#include "media/metadata.h"
#include "media/picture_io.h"
#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

const std::string model = std::string(BACKLOT_SOURCE_DIR) + "/models/pocket-xl";

CommandResult generate(const fs::path& folder, const std::string& output,
                       std::vector<std::string> more) {
  std::vector<std::string> all{
      "generate", "--model",    model, "--prompt", "a red apple", "--width",
      "64",       "--height",   "64",  "--seed",   "3",           "--guidance-scale",
      "3.5",      "--steps",    "9",   "--dtype",  "float32",     "--device",
      "cpu",      "--progress", "off", "-o",       output};
  all.insert(all.end(), more.begin(), more.end());
  return backlot(all, {.folder = folder});
}

fs::path picture_of(const fs::path& run) {
  return run / read_manifest(run)["items"][0]["output"].get<std::string>();
}

// Decibels; infinite for equal pictures.
double psnr(const fs::path& a, const fs::path& b) {
  const auto x = decode_picture(a).picture.rgb, y = decode_picture(b).picture.rgb;
  EXPECT_EQ(x.size(), y.size());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += std::pow(int(x[i]) - int(y[i]), 2);
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(x.size()) / sum);
}

TEST(Quality, QuantizedPicturesAreCloseAndSaySo) {
  try {
    insist_on_quantization(Quantization::int8, "cpu");
  } catch (const EnvironmentError&) {
    GTEST_SKIP() << "no VNNI instructions here";
  }
  TemporaryFolder work;
  ASSERT_EQ(generate(work.path(), "exact", {}).exit_code, 0);
  const auto result = generate(work.path(), "int8", {"--quantize", "int8"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const double decibels = psnr(picture_of(work / "exact"), picture_of(work / "int8"));
  EXPECT_GT(decibels, 30);
  EXPECT_LT(decibels, 100) << "not a bit differs: nothing was quantized";
  EXPECT_EQ(read_manifest(work / "exact")["items"][0]["quantization"], "none");
  EXPECT_EQ(read_manifest(work / "int8")["items"][0]["quantization"], "int8");
  EXPECT_EQ(read_backlot_metadata(picture_of(work / "int8"))["quantization"], "int8");
}

TEST(Quality, CachedPicturesAreCloseAndSaySo) {
  TemporaryFolder work;
  ASSERT_EQ(generate(work.path(), "exact", {}).exit_code, 0);
  ASSERT_EQ(generate(work.path(), "one", {"--cache", "1"}).exit_code, 0);
  EXPECT_TRUE(std::isinf(psnr(picture_of(work / "exact"), picture_of(work / "one"))));
  const auto result = generate(work.path(), "two", {"--cache", "2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const double decibels = psnr(picture_of(work / "exact"), picture_of(work / "two"));
  EXPECT_GT(decibels, 15);
  EXPECT_LT(decibels, 60) << "nothing was reused";
  EXPECT_EQ(read_manifest(work / "two")["items"][0]["parameters"]["cache"], 2);
  // The picture remembers, so that it can be made again.
  const auto again =
      backlot({"generate", "--from", picture_of(work / "two"), "--model", model, "--dtype",
               "float32", "--device", "cpu", "--progress", "off", "-o", "again"},
              {.folder = work.path()});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(std::isinf(psnr(picture_of(work / "two"), picture_of(work / "again"))));
}

TEST(Quality, DryRunShowsBoth) {
  TemporaryFolder work;
  const auto result =
      generate(work.path(), "plan", {"--quantize", "int8", "--cache", "3", "--dry-run"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("quantized to int8"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("deep features every 3 steps"), std::string::npos) << result.out;
}

TEST(Quality, WhatCannotBeIsRefusedBeforeAnythingIsWritten) {
  TemporaryFolder work;
  const auto fp8 = generate(work.path(), "a", {"--quantize", "fp8"});
  EXPECT_EQ(fp8.exit_code, 3);
  EXPECT_NE(fp8.err.find("--quantize fp8: needs an NVIDIA GPU"), std::string::npos) << fp8.err;
  const auto unknown = generate(work.path(), "a", {"--quantize", "int4"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(unknown.err.find("none, int8 or fp8"), std::string::npos) << unknown.err;
  EXPECT_EQ(generate(work.path(), "a", {"--cache", "0"}).exit_code, 2);
  EXPECT_FALSE(fs::exists(work / "a"));
}

}  // namespace
}  // namespace backlot
