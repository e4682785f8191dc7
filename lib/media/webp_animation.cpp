#include <fmt/format.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include <cmath>
#include <new>

#include "base/error.h"
#include "base/files.h"
#include "media/embed.h"
#include "media/frame_sinks.h"
#include "media/temporary_output.h"
#include "media/webp_parts.h"

namespace backlot {
namespace {

struct DeleteAnimation {
  void operator()(WebPAnimEncoder* encoder) const { WebPAnimEncoderDelete(encoder); }
};

class WebpSink : public FrameSink {
 public:
  WebpSink(fs::path path, fs::path shown, int64_t width, int64_t height, FrameRate rate,
           int quality, const PictureMetadata& metadata)
      : path_(std::move(path)),
        shown_(std::move(shown)),
        rate_(rate),
        config_(webp_config(quality)) {
    if (!metadata.empty()) chunks_ = webp_chunks(metadata);
    WebPAnimEncoderOptions options;
    if (!WebPAnimEncoderOptionsInit(&options)) throw std::bad_alloc();
    options.anim_params.loop_count = 0;  // for ever
    encoder_.reset(WebPAnimEncoderNew(static_cast<int>(width), static_cast<int>(height), &options));
    if (!encoder_) throw std::bad_alloc();
  }

  void add(const RgbFrame& frame) override {
    WebpSource source;
    source.picture.width = static_cast<int>(frame.width);
    source.picture.height = static_cast<int>(frame.height);
    source.picture.use_argb = 1;
    if (!WebPPictureImportRGB(&source.picture, frame.rgb.data(), source.picture.width * 3))
      throw std::bad_alloc();
    if (!WebPAnimEncoderAdd(encoder_.get(), &source.picture, next_time(), &config_)) refuse();
  }

  void finish() override {
    // The time at which the last frame ends.
    if (!WebPAnimEncoderAdd(encoder_.get(), nullptr, next_time(), nullptr)) refuse();
    WebPData frames{};
    if (!WebPAnimEncoderAssemble(encoder_.get(), &frames)) refuse();
    std::string bytes(reinterpret_cast<const char*>(frames.bytes), frames.size);
    WebPDataClear(&frames);
    encoder_.reset();
    bytes = with_webp_chunks(std::move(bytes), chunks_.exif, chunks_.xmp);
    write_undurably(path_, bytes, shown_);
  }

 private:
  [[noreturn]] void refuse() const {
    throw ItemError(shown_.string(),
                    fmt::format("cannot write a WebP: {}", WebPAnimEncoderGetError(encoder_.get())),
                    "use another format");
  }

  // Milliseconds: rounded from the frame's number each time, so that no error adds up.
  int next_time() {
    const auto seconds = static_cast<double>(frames_++) * static_cast<double>(rate_.den) /
                         static_cast<double>(rate_.num);
    return static_cast<int>(std::lround(1000 * seconds));
  }

  fs::path path_, shown_;
  FrameRate rate_;
  WebPConfig config_;
  WebpChunks chunks_;
  std::unique_ptr<WebPAnimEncoder, DeleteAnimation> encoder_;
  int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<FrameSink> open_webp_sink(const fs::path& path, const fs::path& shown,
                                          int64_t width, int64_t height, FrameRate rate,
                                          int quality, const PictureMetadata& metadata) {
  return std::make_unique<WebpSink>(path, shown, width, height, rate, quality, metadata);
}

}  // namespace backlot
