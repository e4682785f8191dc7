// Video files, animations and folders of PNGs, from frames that are handed in one by one.
//
// The file is whole under its name or not there at all: frames go into a hidden temporary name
// beside it, which is flushed and renamed by finish(). The same frames and settings give the same
// bytes on every machine with the same libraries, whatever its number of cores; encoders on a GPU
// (nvenc) make no such promise. Videos are encoded by FFmpeg's libraries, opened on demand
// (media/video_library.h); webp and png-sequence need none of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "media/metadata.h"

namespace backlot {

enum class VideoFormat { mp4, mov, mkv, webm, gif, webp, png_sequence };

// "mp4", "mov", "mkv", "webm", "gif", "webp", "png-sequence", as a spec's output.format names them;
// nothing for other names.
std::optional<VideoFormat> video_format(std::string_view name);
std::string_view name_of(VideoFormat format);

// What the names of its files end in, without the dot: as name_of, but "" for png-sequence, whose
// output is a folder.
std::string_view file_extension(VideoFormat format);

// Frames per second as a fraction: 16/1, 30000/1001.
struct FrameRate {
  int64_t num = 16, den = 1;
};

// As a fraction: 23.976 gives 24000/1001, which is what people mean by it; anything else the
// nearest with a denominator of at most 1000. 0/1 for what is no rate.
FrameRate frame_rate(double frames_per_second);

struct VideoSettings {
  VideoFormat format = VideoFormat::mp4;
  // h264, h265, av1, vp9, ffv1 (lossless, mkv only); h264_nvenc, h265_nvenc on GPUs that have
  // them. Empty: h264, in webm vp9. None for gif, webp and png-sequence.
  std::string codec;
  // 1 to 100, which means about the same with every codec: 75 is what the encoders take by
  // themselves, 90 hard to tell from the frames. webp: lossless at 100. gif: the share of 256
  // colours. png-sequence and ffv1 are lossless always.
  int quality = 90;
  // The codec's own scale in place of `quality`: 0 to 51 for h264 and h265, 0 to 63 for av1 and
  // vp9; lower is better. For codecs alone.
  std::optional<int> crf;
  // Of the whole file, metadata included (of all of a sequence's files together). The best quality
  // up to `quality` or `crf` that fits is searched for: the frames wait in a lossless temporary
  // file beside the output. png-sequence takes its best compression.
  std::optional<uint64_t> max_bytes;
  FrameRate rate;
  int bit_depth = 8;  // or 10, for h264, h265, av1, vp9 and h265_nvenc
  // Video files: tags `title` (the prompt), `comment` (the A1111 text) and `description` (JSON). In
  // mp4, mov and gif also XMP; webp and the PNGs carry it as pictures do.
  PictureMetadata metadata;
  // Stands in temporary names behind the common prefix, so that a shard can tell its own.
  std::string temporary_tag;
};

// What is wrong with settings, before any frame is made.
struct VideoProblem {
  std::string field;  // of a spec's `output`: "codec", "crf", "bit_depth"; "fps"
  std::string what, mend;
};
std::optional<VideoProblem> find_problem(const VideoSettings& settings);

// A view of one frame: width * height * 3 bytes, row by row, RGB.
struct RgbFrame {
  int64_t width = 0, height = 0;
  std::span<const uint8_t> rgb;

  RgbFrame() = default;
  RgbFrame(int64_t w, int64_t h, std::span<const uint8_t> bytes)
      : width(w), height(h), rgb(bytes) {}
  RgbFrame(const Picture& p) : width(p.width), height(p.height), rgb(p.rgb) {}
};

struct Written {
  std::filesystem::path path;
  uint64_t bytes = 0;
  // Of the file. Of a folder: of the text that `sha256sum *.png` prints in it, names sorted.
  std::string sha256;
  int64_t frames = 0, width = 0, height = 0;
  double seconds = 0;        // that it plays
  std::string codec;         // "h264"; "gif", "webp", "png"
  std::string pixel_format;  // FFmpeg's name: "yuv420p", "yuv420p10le", …; "" for webp and PNG
  std::optional<int> crf;    // that was used, where the codec has one
};

class VideoWriter {
 public:
  // `path` is the final name; its folder must exist. Every frame has the given size. Throws
  // ItemError: settings that find_problem refuses, a size that the codec can't take;
  // EnvironmentError: no FFmpeg, no such encoder on this machine, not writable.
  //
  // Pixels are stored as yuv420p, which every player shows; as yuv444p where a side is odd, which
  // yuv420p can't hold. Nothing is padded or cropped. Colours are BT.709, limited range, and say
  // so.
  VideoWriter(std::filesystem::path path, int64_t width, int64_t height, VideoSettings settings);
  ~VideoWriter();  // without finish() nothing remains
  VideoWriter(const VideoWriter&) = delete;
  VideoWriter& operator=(const VideoWriter&) = delete;

  // The next frame. At most a few tens of frames are in memory. Throws EnvironmentError: disk full.
  void add(const RgbFrame& frame);

  // Puts the whole file durably under its name, in place of what had it. `before_placing` is called
  // when all is on disk under the temporary name; if it throws, nothing remains. Throws ItemError
  // if there are no frames or max_bytes can't be kept; EnvironmentError: disk full.
  Written finish(const std::function<void(const Written&)>& before_placing = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The SHA-256 of a folder as Written has it: of "HASH  NAME\n" for each file, names sorted. Throws
// EnvironmentError.
std::string sequence_sha256(const std::filesystem::path& folder);

}  // namespace backlot
