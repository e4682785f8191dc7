// Frames of scenes, one scene after another, as the frames of one clip.
#pragma once

#include <cstdint>
#include <deque>

#include "engine/video.h"

namespace backlot {

// What is `part` of `whole` on the way from one picture to another of the same size, each byte
// rounded to the nearest (up, where two are as near). Linear in the bytes themselves, which is what
// encoders are given: what editing programs call a cross-fade, and even to the eye, which a mix of
// the light that they stand for is not.
Picture mix(const Picture& from, const Picture& to, int64_t part, int64_t whole);

// Passes frames on as they come; of those that two scenes share, the later scene's n-th of N is
// n / (N + 1) of the mix. Holds no more than the frames that are shared.
class SceneMixer {
 public:
  explicit SceneMixer(FrameTaker take) : take_(std::move(take)) {}

  // The next scene, of which the first `before` frames are shared with the scene before, which has
  // said so, and the last `behind` with the one behind. before + behind < frames.
  void begin(int64_t frames, int64_t before, int64_t behind);

  void add(Picture frame);

 private:
  FrameTaker take_;
  int64_t frames_ = 0, before_ = 0, behind_ = 0;  // of the scene
  int64_t added_ = 0;
  std::deque<Picture> held_;  // the last ones of the scene before, or of this one
};

}  // namespace backlot
