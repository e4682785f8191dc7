#include "media/video_reader.h"

#include "base/error.h"
#include "media/picture_io.h"
#include "media/video_library.h"
#include "media/video_metadata.h"

namespace backlot {

struct VideoReader::State {
  std::unique_ptr<FrameSource> source;
};

VideoReader::VideoReader(const std::filesystem::path& path)
    : state_(new State{video_library().open_source(path, max_picture_side, max_picture_pixels)}) {
  // FFmpeg takes the end of a GIF that was cut for its end.
  if (facts().container == "gif") read_embedded_video(path);
}

VideoReader::~VideoReader() = default;

const VideoFacts& VideoReader::facts() const { return state_->source->facts(); }

bool VideoReader::next(Picture& frame) { return state_->source->next(frame); }

Picture poster_frame(const std::filesystem::path& path) {
  VideoReader reader(path);
  Picture out;
  if (!reader.next(out))
    throw LoadError(path.string(), "there are no frames in it", "make it again");
  return out;
}

}  // namespace backlot
