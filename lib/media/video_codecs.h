// Which codecs go into which containers, and how FFmpeg is asked for them.
#pragma once

#include <optional>
#include <string>

#include "media/video_library.h"
#include "media/video_writer.h"

namespace backlot {

// True for formats that FFmpeg encodes with a codec of choice: mp4, mov, mkv, webm.
bool has_codecs(VideoFormat format);

// settings.codec, or the format's own: "h264", "vp9". For formats without a choice "gif", "webp",
// "png".
std::string codec_of(const VideoSettings& settings);

// The codec's own number for the wanted quality; nothing for ffv1 and formats without codecs.
std::optional<int> start_crf(const VideoSettings& settings);

// The number with which the codec makes its smallest files.
int worst_crf(const std::string& codec);

// How to write `settings` with this crf. Path and metadata are left to the caller. Throws ItemError
// if the codec can't hold the size.
StreamSettings stream_settings(const VideoSettings& settings, int64_t width, int64_t height,
                               std::optional<int> crf);

// Lossless RGB, quick to write and read again, for frames that wait.
StreamSettings store_settings(int64_t width, int64_t height, FrameRate rate);

}  // namespace backlot
