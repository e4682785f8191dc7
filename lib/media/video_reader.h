// Frames and facts of video files, through FFmpeg's libraries (media/video_library.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "media/video_writer.h"

namespace backlot {

struct VideoFacts {
  std::string container;  // FFmpeg's name: "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "gif"
  std::string codec;      // "h264", "hevc", "av1", "vp9", "gif", …
  std::string pixel_format;
  int64_t width = 0, height = 0;
  FrameRate rate;      // the average; 0/1 if the file does not say
  int64_t frames = 0;  // as the container says or its length lets expect; 0: unknown
  double seconds = 0;  // 0: unknown
  std::vector<std::pair<std::string, std::string>> tags;  // of the container, UTF-8
};

// Reads mp4, mov, mkv, webm, gif and avi from a file on disk; never follows what a file refers to.
class VideoReader {
 public:
  // Throws LoadError, naming the file: not such a video, damaged, larger a frame than
  // media/picture_io.h allows, no decoder for its codec; EnvironmentError: no FFmpeg.
  explicit VideoReader(const std::filesystem::path& path);
  ~VideoReader();
  VideoReader(const VideoReader&) = delete;
  VideoReader& operator=(const VideoReader&) = delete;

  const VideoFacts& facts() const;

  // The next frame as RGB, in the order of showing; false after the last. Throws LoadError where
  // the file is damaged or cut short.
  bool next(Picture& frame);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The first frame. Throws as VideoReader does.
Picture poster_frame(const std::filesystem::path& path);

}  // namespace backlot
