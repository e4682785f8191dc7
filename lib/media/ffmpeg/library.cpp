// What libbacklot_video.so exports.
#include <cstdlib>

#include "media/ffmpeg/handles.h"

namespace backlot {
namespace {

class FfmpegLibrary : public VideoLibrary {
 public:
  std::unique_ptr<FrameSink> open_sink(const StreamSettings& settings) override {
    return open_stream_sink(settings);
  }
  std::unique_ptr<FrameSource> open_source(const std::filesystem::path& path, int64_t max_side,
                                           int64_t max_pixels) override {
    return open_stream_source(path, max_side, max_pixels);
  }
  void write_gif(const GifSettings& settings,
                 const std::function<std::unique_ptr<FrameSource>()>& open) override {
    write_palette_gif(settings, open);
  }
};

}  // namespace
}  // namespace backlot

extern "C" int backlot_video_abi() { return backlot::video_library_abi; }

extern "C" backlot::VideoLibrary* backlot_video_library() {
  // SVT-AV1 writes to standard error itself; errors alone are left of that.
  ::setenv("SVT_LOG", "1", 0);
  static backlot::FfmpegLibrary library;
  return &library;
}
