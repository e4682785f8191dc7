// Damaged files: a thousand of each format, the same on every run.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/error.h"
#include "media/picture_io.h"
#include "media/pictures.h"

namespace backlot {
namespace {

// A few bytes changed, a piece cut out, doubled or moved, or the end missing.
std::string mutate(std::string bytes, std::mt19937& random) {
  const auto below = [&](size_t limit) { return random() % std::max<size_t>(limit, 1); };
  switch (below(6)) {
    case 0:
      bytes.resize(below(bytes.size()));
      break;
    case 1:
      bytes.erase(below(bytes.size()), below(40));
      break;
    case 2: {
      const size_t at = below(bytes.size());
      bytes.insert(below(bytes.size()), bytes.substr(at, below(200)));
      break;
    }
    case 3:  // headers and metadata are at the front
      for (size_t n = 1 + below(4); n > 0; --n)
        bytes[below(std::min<size_t>(bytes.size(), 200))] = static_cast<char>(random());
      break;
    default:
      for (size_t n = 1 + below(8); n > 0; --n)
        bytes[below(bytes.size())] ^= static_cast<char>(1 << below(8));
  }
  return bytes;
}

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
