#include <fmt/format.h>

#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "media/codecs.h"
#include "media/embed.h"
#include "media/frame_sinks.h"
#include "media/temporary_output.h"

namespace backlot {
namespace {

using Texts = std::vector<std::pair<std::string, std::string>>;

Texts texts_of(const PictureMetadata& metadata) {
  return metadata.empty() ? Texts{} : png_text(metadata);
}

class PngSink : public FrameSink {
 public:
  PngSink(fs::path path, fs::path shown, const PictureMetadata& metadata)
      : path_(std::move(path)), shown_(std::move(shown)), texts_(texts_of(metadata)) {}

  void add(const RgbFrame& frame) override {
    const Picture picture{frame.width, frame.height, {frame.rgb.begin(), frame.rgb.end()}};
    write_undurably(path_ / fmt::format("{:05}.png", frames_++),
                    encode_png(picture, PngEffort::fast, texts_), shown_);
  }

  void finish() override {}

 private:
  fs::path path_, shown_;
  Texts texts_;
  int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<FrameSink> open_png_sink(const fs::path& path, const fs::path& shown,
                                         const PictureMetadata& metadata) {
  return std::make_unique<PngSink>(path, shown, metadata);
}

void shrink_png_sequence(const fs::path& path, const fs::path& shown,
                         const PictureMetadata& metadata) {
  const Texts texts = texts_of(metadata);
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string bytes = read_file(entry.path());
    const std::string best =
        encode_png(decode_png(bytes, entry.path().string()).picture, PngEffort::best, texts);
    if (best.size() < bytes.size()) write_undurably(entry.path(), best, shown);
  }
}

}  // namespace backlot
