// Clips to test with, and what ffprobe says of files.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"
#include "media/video_reader.h"
#include "media/video_writer.h"
#include "support/command.h"

namespace backlot {

// A saturated disc that crosses a gradient; the same on every call.
inline Picture scene(int64_t width, int64_t height, int64_t at) {
  Picture out{width, height, {}};
  const double x0 = static_cast<double>(width) * (0.25 + 0.04 * static_cast<double>(at % 13));
  const double y0 = static_cast<double>(height) * 0.5;
  const double radius = static_cast<double>(height) * 0.3;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const double away = std::hypot(static_cast<double>(x) - x0, static_cast<double>(y) - y0);
      const bool disc = away < radius;
      out.rgb.push_back(disc ? 220 : static_cast<uint8_t>(40 + 60 * x / width));
      out.rgb.push_back(disc ? 40 : static_cast<uint8_t>(90 + 60 * y / height));
      out.rgb.push_back(disc ? 30 : 200);
    }
  }
  return out;
}

inline Written write_clip(const std::filesystem::path& path, int64_t frames, int64_t width,
                          int64_t height, const VideoSettings& settings) {
  VideoWriter writer(path, width, height, settings);
  for (int64_t i = 0; i < frames; ++i) writer.add(scene(width, height, i));
  return writer.finish();
}

inline std::vector<Picture> frames_of(const std::filesystem::path& path) {
  VideoReader reader(path);
  std::vector<Picture> out;
  for (Picture frame; reader.next(frame);) out.push_back(frame);
  return out;
}

// The one stream and the container, every frame decoded and counted. Null without ffprobe.
inline Json ffprobe(const std::filesystem::path& path) {
  const auto result = run_program({"ffprobe", "-v", "error", "-count_frames", "-show_streams",
                                   "-show_format", "-of", "json", path.string()});
  if (result.exit_code != 0) return nullptr;
  return Json::parse(result.out, nullptr, false);
}

inline bool has_ffprobe() { return run_program({"ffprobe", "-version"}).exit_code == 0; }

}  // namespace backlot
