// Damaged files: a thousand of each format, the same on every run.
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "media/mutate.h"
#include "media/picture_io.h"
#include "media/pictures.h"

namespace backlot {
namespace {

class Mutations : public testing::TestWithParam<PictureKind> {};
INSTANTIATE_TEST_SUITE_P(Media, Mutations,
                         testing::Values(PictureKind::png, PictureKind::jpeg, PictureKind::webp),
                         [](const auto& test) { return std::string(file_extension(test.param)); });

TEST_P(Mutations, GiveAPictureOrAnError) {
  const auto metadata =
      describe_picture({{"parameters", {{"prompt", "a red apple"}, {"seed", 7}, {"steps", 20}}}});
  const std::string whole = encode_picture(waves(48, 40), {.kind = GetParam()}, metadata);
  std::mt19937 random(20);
  int pictures = 0, records = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string bytes = mutate(whole, random);
    try {
      const auto decoded = decode_picture(bytes, "mutant");
      const auto pixels = static_cast<size_t>(decoded.picture.width * decoded.picture.height);
      ASSERT_EQ(decoded.picture.rgb.size(), pixels * 3);
      ASSERT_TRUE(decoded.alpha.empty() || decoded.alpha.size() == pixels);
      ++pictures;
    } catch (const LoadError& error) {
      ASSERT_EQ(error.where(), "mutant");
    }
    try {
      ASSERT_TRUE(read_backlot_metadata(bytes, "mutant")["parameters"].is_object());
      ++records;
    } catch (const LoadError& error) {
      ASSERT_EQ(error.where(), "mutant");
    }
  }
  // Some must get through and some not, or the mutations test nothing.
  EXPECT_GT(records, 10);
  EXPECT_LT(records, 1000);
  EXPECT_LT(pictures, 1000);
}

}  // namespace
}  // namespace backlot
