#include "pipelines/scene_mixer.h"

#include <utility>

namespace backlot {

Picture mix(const Picture& from, const Picture& to, int64_t part, int64_t whole) {
  Picture out{to.width, to.height, {}};
  out.rgb.resize(to.rgb.size());
  const auto old_part = static_cast<uint32_t>(whole - part), new_part = static_cast<uint32_t>(part);
  const auto all = static_cast<uint32_t>(whole);
  for (size_t i = 0; i < out.rgb.size(); ++i)
    out.rgb[i] = static_cast<uint8_t>((2 * (from.rgb[i] * old_part + to.rgb[i] * new_part) + all) /
                                      (2 * all));
  return out;
}

void SceneMixer::begin(int64_t frames, int64_t before, int64_t behind) {
  frames_ = frames;
  before_ = before;
  behind_ = behind;
  added_ = 0;
}

void SceneMixer::add(Picture frame) {
  const int64_t place = added_++;
  if (place < before_) {
    Picture mixed = mix(held_.front(), frame, place + 1, before_ + 1);
    held_.pop_front();
    take_(std::move(mixed));
  } else if (place >= frames_ - behind_) {
    held_.push_back(std::move(frame));
  } else {
    take_(std::move(frame));
  }
}

}  // namespace backlot
