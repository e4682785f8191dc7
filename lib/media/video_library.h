// What libbacklot_video.so gives the rest of backlot: streams of frames into and out of containers,
// by FFmpeg's libraries. It is opened on demand, because they take as long to load as everything
// else together, and because pictures are made without them. Nothing of FFmpeg shows here.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "media/video_reader.h"
#include "media/video_writer.h"

namespace backlot {

// Raised whenever this file or one that it includes changes.
inline constexpr int video_library_abi = 1;

using NamedTexts = std::vector<std::pair<std::string, std::string>>;

// Takes frames of one size in order. Dropped without finish(), it leaves what it has written.
class FrameSink {
 public:
  virtual ~FrameSink() = default;
  virtual void add(const RgbFrame& frame) = 0;
  virtual void finish() = 0;  // the file is complete, though not flushed to disk
};

class FrameSource {
 public:
  virtual ~FrameSource() = default;
  virtual const VideoFacts& facts() const = 0;
  virtual bool next(Picture& frame) = 0;
};

struct StreamSettings {
  std::filesystem::path path;
  std::filesystem::path shown_path;                 // what errors call it
  std::string muxer, encoder;                       // FFmpeg's names: "matroska", "libx264"
  NamedTexts muxer_options, encoder_options, tags;  // FFmpeg's names
  std::string pixel_format = "yuv420p";             // FFmpeg's name
  std::string codec_tag;                            // four characters; "" for the muxer's own
  int threads = 1;                                  // of the encoder
  int64_t width = 0, height = 0;
  FrameRate rate;
};

struct GifSettings {
  std::filesystem::path path, shown_path;
  FrameRate rate;
  int colours = 256;  // 4 to 256, one of them for what stays as it was
};

class VideoLibrary {
 public:
  virtual ~VideoLibrary() = default;

  // Throws EnvironmentError: no such encoder here, not writable; ItemError: it refuses the
  // settings.
  virtual std::unique_ptr<FrameSink> open_sink(const StreamSettings& settings) = 0;

  // See VideoReader. Decoded frames of more than max_pixels or max_side are refused.
  virtual std::unique_ptr<FrameSource> open_source(const std::filesystem::path& path,
                                                   int64_t max_side, int64_t max_pixels) = 0;

  // Two passes over the frames: one for the palette, one for the pixels.
  virtual void write_gif(const GifSettings& settings,
                         const std::function<std::unique_ptr<FrameSource>()>& open) = 0;
};

// Opens libbacklot_video.so once for the process. Throws EnvironmentError: not there, FFmpeg's
// libraries missing, of another version of backlot.
VideoLibrary& video_library();

// What libbacklot_video.so exports, as backlot_video_abi and backlot_video_library.
using VideoAbi = int (*)();
using GetVideoLibrary = VideoLibrary* (*)();

}  // namespace backlot
