#include "pipelines/scene_mixer.h"

#include <gtest/gtest.h>

namespace backlot {
namespace {

Picture grey(uint8_t value) { return {2, 1, std::vector<uint8_t>(6, value)}; }

// The values of frames that a mixer makes of grey scenes.
struct Clip {
  std::vector<int> values;
  SceneMixer mixer{[this](const Picture& frame) { values.push_back(frame.rgb.front()); }};

  void scene(std::initializer_list<uint8_t> frames, int64_t before, int64_t behind) {
    mixer.begin(static_cast<int64_t>(frames.size()), before, behind);
    for (const uint8_t value : frames) mixer.add(grey(value));
  }
};

TEST(Mix, IsRoundedToTheNearest) {
  EXPECT_EQ(mix(grey(0), grey(1), 1, 2).rgb, grey(1).rgb) << "up from the middle";
  EXPECT_EQ(mix(grey(0), grey(1), 1, 3).rgb, grey(0).rgb);
  EXPECT_EQ(mix(grey(0), grey(1), 2, 3).rgb, grey(1).rgb);
  EXPECT_EQ(mix(grey(255), grey(255), 4096, 4097).rgb, grey(255).rgb);
  EXPECT_EQ(mix(grey(200), grey(100), 1, 4).rgb, grey(175).rgb);
  Picture from{2, 1, {0, 10, 20, 30, 40, 50}}, to{2, 1, {100, 110, 120, 130, 140, 151}};
  EXPECT_EQ(mix(from, to, 1, 2).rgb, (std::vector<uint8_t>{50, 60, 70, 80, 90, 101}));
}

TEST(SceneMixer, PassesOnWhatIsNotShared) {
  Clip clip;
  clip.scene({1, 2, 3}, 0, 0);
  clip.scene({4, 5}, 0, 0);
  EXPECT_EQ(clip.values, (std::vector{1, 2, 3, 4, 5}));
}

TEST(SceneMixer, MixesWhatTwoScenesShare) {
  Clip clip;
  clip.scene({10, 0, 0, 0}, 0, 3);
  EXPECT_EQ(clip.values, (std::vector{10})) << "the rest is held until the next scene";
  clip.scene({100, 100, 100, 90, 60}, 3, 1);
  EXPECT_EQ(clip.values, (std::vector{10, 25, 50, 75, 90}));
  clip.scene({160, 170}, 1, 0);
  EXPECT_EQ(clip.values, (std::vector{10, 25, 50, 75, 90, 110, 170}));
}

TEST(SceneMixer, IsWhatTheTakerThrows) {
  SceneMixer mixer([](const Picture&) { throw 1; });
  mixer.begin(2, 0, 0);
  EXPECT_THROW(mixer.add(grey(0)), int);
}

}  // namespace
}  // namespace backlot
