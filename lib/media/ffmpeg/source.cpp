// Frames out of a video file, as RGB. The order of calls is that of FFmpeg's
// doc/examples/demuxing_decoding.c (5.1).
extern "C" {
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
}

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "base/error.h"
#include "media/ffmpeg/handles.h"

namespace backlot {
namespace {

// Formats that name other files (playlists, subtitles of images, …) are not among them.
constexpr auto containers = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,gif,avi";

class StreamSource : public FrameSource {
 public:
  StreamSource(const std::filesystem::path& path, int64_t max_side, int64_t max_pixels)
      : name_(path.string()),
        max_side_(max_side),
        max_pixels_(max_pixels),
        packet_(allocated(av_packet_alloc())),
        frame_(allocated(av_frame_alloc())) {
    listen_to_log();
    open_container();
    open_decoder();
    describe();
  }

  const VideoFacts& facts() const override { return facts_; }

  bool next(Picture& picture) override {
    while (true) {
      const int error = avcodec_receive_frame(decoder_.get(), frame_.get());
      if (error == 0) {
        if (frame_->decode_error_flags || frame_->flags & AV_FRAME_FLAG_CORRUPT)
          throw_damaged("a frame can't be decoded");
        convert(picture);
        return true;
      }
      if (error == AVERROR_EOF) {
        expect_all_read();
        return false;
      }
      if (error != AVERROR(EAGAIN)) throw_damaged(reason_of(error));
      send_packet();
    }
  }

 private:
  [[noreturn]] void throw_damaged(const std::string& reason) const {
    throw LoadError(name_, fmt::format("the video is damaged or cut short ({})", reason),
                    "make or fetch it again");
  }

  void open_container() {
    AVFormatContext* container = allocated(avformat_alloc_context());
    container->format_whitelist = av_strdup(containers);
    container->protocol_whitelist = av_strdup("file");
    // Frees the context where it fails.
    const int error = avformat_open_input(&container, ("file:" + name_).c_str(), nullptr, nullptr);
    if (error == AVERROR(ENOMEM)) throw std::bad_alloc();
    if (error < 0 && is_system_error(error))
      throw LoadError(name_, fmt::format("cannot open: {}", reason_of(error)), "check the path");
    if (error < 0)
      throw LoadError(name_, fmt::format("not a video that backlot reads ({})", reason_of(error)),
                      "give a whole MP4, MOV, MKV, WebM, GIF or AVI file");
    container_.reset(container);
    if (const int found = avformat_find_stream_info(container, nullptr); found < 0)
      throw_damaged(reason_of(found));
  }

  void open_decoder() {
    const AVCodec* codec = nullptr;
    const int index = av_find_best_stream(container_.get(), AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (index == AVERROR_DECODER_NOT_FOUND)
      throw LoadError(name_, "this machine's FFmpeg has no decoder for it",
                      "convert it to H.264, or install FFmpeg from Debian's packages");
    if (index < 0) throw LoadError(name_, "there are no pictures in it", "give a video");
    stream_ = container_->streams[index];
    check_size(stream_->codecpar->width, stream_->codecpar->height);
    decoder_.reset(allocated(avcodec_alloc_context3(codec)));
    if (avcodec_parameters_to_context(decoder_.get(), stream_->codecpar) < 0)
      throw std::bad_alloc();
    decoder_->err_recognition |= AV_EF_EXPLODE | AV_EF_CRCCHECK;
    decoder_->max_pixels = max_pixels_;
    decoder_->thread_count = 0;  // as many as there are cores: what is decoded stays the same
    if (const int error = avcodec_open2(decoder_.get(), codec, nullptr); error < 0)
      throw_damaged(reason_of(error));
  }

  void check_size(int64_t width, int64_t height) const {
    if (width < 1 || height < 1) throw_damaged("no size");
    if (width > max_side_ || height > max_side_ || width * height > max_pixels_)
      throw LoadError(
          name_,
          fmt::format("frames of {}x{} are more than the {} pixels a side and {} in all "
                      "that backlot reads",
                      width, height, max_side_, max_pixels_),
          "give a smaller video");
  }

  void describe() {
    const auto& parameters = *stream_->codecpar;
    facts_.container = container_->iformat->name;
    facts_.codec = avcodec_get_name(parameters.codec_id);
    const auto format = static_cast<AVPixelFormat>(parameters.format);
    if (const char* name = av_get_pix_fmt_name(format)) facts_.pixel_format = name;
    facts_.width = parameters.width;
    facts_.height = parameters.height;
    const AVRational rate = stream_->avg_frame_rate;
    if (rate.num > 0 && rate.den > 0)
      facts_.rate = {rate.num, rate.den};
    else
      facts_.rate = {0, 1};
    if (stream_->duration > 0)
      facts_.seconds = static_cast<double>(stream_->duration) * av_q2d(stream_->time_base);
    else if (container_->duration > 0)
      facts_.seconds = static_cast<double>(container_->duration) / AV_TIME_BASE;
    facts_.frames = stream_->nb_frames;
    if (facts_.frames <= 0 && rate.den > 0)
      facts_.frames = std::llround(facts_.seconds * av_q2d(rate));
    const AVDictionaryEntry* tag = nullptr;
    while ((tag = av_dict_get(container_->metadata, "", tag, AV_DICT_IGNORE_SUFFIX)))
      facts_.tags.emplace_back(tag->key, tag->value);
  }

  void send_packet() {
    int error = 0;
    do {
      av_packet_unref(packet_.get());
      error = av_read_frame(container_.get(), packet_.get());
      if (error == AVERROR_EOF && container_->pb && container_->pb->error < 0)
        error = container_->pb->error;
    } while (error == 0 && packet_->stream_index != stream_->index);
    if (error < 0 && error != AVERROR_EOF) throw_damaged(reason_of(error));
    if (error == 0) {
      if (packet_->flags & AV_PKT_FLAG_CORRUPT) throw_damaged("a frame is not whole");
      ++packets_;
    }
    error = avcodec_send_packet(decoder_.get(), error == 0 ? packet_.get() : nullptr);
    if (error < 0 && error != AVERROR_EOF) throw_damaged(reason_of(error));
  }

  // A file that was cut ends like a whole one for some containers: only the count tells.
  void expect_all_read() const {
    const int64_t promised = facts_.frames;
    if (packets_ < promised - 1 - promised / 50)
      throw_damaged(fmt::format("{} of {} frames are there", packets_, promised));
  }

  void convert(Picture& picture) {
    check_size(frame_->width, frame_->height);
    const auto format = static_cast<AVPixelFormat>(frame_->format);
    const bool rgb =
        av_pix_fmt_desc_get(format)->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL);
    SwsContext* scaler = sws_getCachedContext(
        scaler_.release(), frame_->width, frame_->height, format, frame_->width, frame_->height,
        AV_PIX_FMT_RGB24,
        SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP,
        nullptr, nullptr, nullptr);
    if (!scaler) throw_damaged("its pixels are of an unknown kind");
    scaler_.reset(scaler);
    // SWS_CS_DEFAULT is what players take where the file says nothing.
    const int space =
        frame_->colorspace == AVCOL_SPC_UNSPECIFIED ? SWS_CS_DEFAULT : frame_->colorspace;
    const int* table = sws_getCoefficients(space);
    const bool full = rgb || frame_->color_range == AVCOL_RANGE_JPEG;
    constexpr int one = 1 << 16;
    sws_setColorspaceDetails(scaler, table, full, table, 1, 0, one, one);

    picture.width = frame_->width;
    picture.height = frame_->height;
    const size_t row = static_cast<size_t>(picture.width) * 3;
    picture.rgb.resize(row * static_cast<size_t>(picture.height));
    // libswscale writes rows in whole vectors, and so beyond the end of those that are shorter.
    const size_t stride = (row + 63) / 64 * 64;
    rows_.resize(stride * static_cast<size_t>(picture.height) + 64);
    uint8_t* const to[] = {rows_.data()};
    const int strides[] = {static_cast<int>(stride)};
    sws_scale(scaler, frame_->data, frame_->linesize, 0, frame_->height, to, strides);
    for (size_t y = 0; y < static_cast<size_t>(picture.height); ++y)
      std::copy_n(rows_.data() + y * stride, row, picture.rgb.data() + y * row);
    av_frame_unref(frame_.get());
  }

  std::string name_;
  int64_t max_side_, max_pixels_;
  OwnedInput container_;
  AVStream* stream_ = nullptr;
  OwnedCodec decoder_;
  OwnedPacket packet_;
  OwnedFrame frame_;
  OwnedScaler scaler_;
  std::vector<uint8_t> rows_;
  VideoFacts facts_;
  int64_t packets_ = 0;
};

}  // namespace

std::unique_ptr<FrameSource> open_stream_source(const std::filesystem::path& path, int64_t max_side,
                                                int64_t max_pixels) {
  return std::make_unique<StreamSource>(path, max_side, max_pixels);
}

}  // namespace backlot
