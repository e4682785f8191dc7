// FFmpeg's objects, owned; its errors, thrown.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavformat/avformat.h>
#include <libavutil/frame.h>
#include <libswscale/swscale.h>
}

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "media/video_library.h"

namespace backlot {

template <auto free>
struct FreeByAddress {
  template <typename T>
  void operator()(T* object) const {
    free(&object);
  }
};
struct FreeScaler {
  void operator()(SwsContext* scaler) const { sws_freeContext(scaler); }
};

using OwnedFrame = std::unique_ptr<AVFrame, FreeByAddress<av_frame_free>>;
using OwnedPacket = std::unique_ptr<AVPacket, FreeByAddress<av_packet_free>>;
using OwnedCodec = std::unique_ptr<AVCodecContext, FreeByAddress<avcodec_free_context>>;
using OwnedInput = std::unique_ptr<AVFormatContext, FreeByAddress<avformat_close_input>>;
using OwnedGraph = std::unique_ptr<AVFilterGraph, FreeByAddress<avfilter_graph_free>>;
using OwnedScaler = std::unique_ptr<SwsContext, FreeScaler>;

// A dictionary for one call; what the call leaves in it was not understood.
class Dictionary {
 public:
  Dictionary() = default;
  explicit Dictionary(const NamedTexts& entries);
  ~Dictionary() { av_dict_free(&entries_); }
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;

  void set(const std::string& key, const std::string& value);
  AVDictionary** get() { return &entries_; }

  // Throws std::logic_error if an entry is left: an option that FFmpeg does not know.
  void expect_all_taken(std::string_view by) const;

 private:
  AVDictionary* entries_ = nullptr;
};

// `object`, or std::bad_alloc.
template <typename T>
T* allocated(T* object) {
  if (!object) throw std::bad_alloc();
  return object;
}

// FFmpeg's words for `error`, and the last that it logged as an error in this thread.
std::string reason_of(int error);

// Logging goes to reason_of from here on, and nowhere else. What was logged before is forgotten.
void listen_to_log();

// True for errors of the operating system, such as a full disk.
bool is_system_error(int error);

// EnvironmentError about `path` for a failed write.
[[noreturn]] void throw_write_failed(const std::filesystem::path& path, int error);

std::unique_ptr<FrameSink> open_stream_sink(const StreamSettings& settings);
std::unique_ptr<FrameSource> open_stream_source(const std::filesystem::path& path, int64_t max_side,
                                                int64_t max_pixels);
void write_palette_gif(const GifSettings& settings,
                       const std::function<std::unique_ptr<FrameSource>()>& open);

// Puts encoded frames into a container. Shared by open_stream_sink and write_palette_gif.
class Muxer {
 public:
  explicit Muxer(const StreamSettings& settings);
  ~Muxer();
  Muxer(const Muxer&) = delete;
  Muxer& operator=(const Muxer&) = delete;

  // A frame of the settings' pixel format with its pts in frames, or nullptr at the end.
  void encode(AVFrame* frame);
  void finish();  // after the end

 private:
  void open_encoder(const AVCodec& codec);
  void open_file();
  void drain();

  StreamSettings settings_;
  OwnedCodec encoder_;
  AVFormatContext* container_ = nullptr;
  AVStream* stream_ = nullptr;
  OwnedPacket packet_;
};

}  // namespace backlot
