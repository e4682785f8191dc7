// RGB frames into one video stream of a container. The order of calls is that of FFmpeg's
// doc/examples/muxing.c (5.1).
extern "C" {
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
}

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "base/error.h"
#include "base/files.h"
#include "media/ffmpeg/handles.h"

namespace backlot {
namespace {

AVPixelFormat pixel_format(const StreamSettings& settings) {
  const AVPixelFormat out = av_get_pix_fmt(settings.pixel_format.c_str());
  if (out == AV_PIX_FMT_NONE)
    throw std::logic_error(fmt::format("no pixel format '{}'", settings.pixel_format));
  return out;
}

bool is_rgb(AVPixelFormat format) {
  return av_pix_fmt_desc_get(format)->flags & AV_PIX_FMT_FLAG_RGB;
}

bool halves_colour(AVPixelFormat format) { return av_pix_fmt_desc_get(format)->log2_chroma_w == 1; }

// Full-range RGB to `to`: BT.709 in limited range with colour samples at the left where they are
// halved, or RGB again. Bitexact, so that all CPUs agree.
OwnedScaler scaler_for(int width, int height, AVPixelFormat to) {
  OwnedScaler out(allocated(sws_alloc_context()));
  const auto set = [&](const char* name, int64_t value) {
    if (av_opt_set_int(out.get(), name, value, 0) < 0)
      throw std::logic_error(fmt::format("libswscale has no option '{}'", name));
  };
  set("srcw", width);
  set("srch", height);
  set("src_format", AV_PIX_FMT_RGB24);
  set("dstw", width);
  set("dsth", height);
  set("dst_format", to);
  set("src_range", 1);
  set("dst_range", is_rgb(to));
  set("sws_flags",
      SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INP | SWS_FULL_CHR_H_INT);
  if (halves_colour(to)) {
    set("dst_h_chr_pos", 0);
    set("dst_v_chr_pos", 128);
  }
  const int* table = sws_getCoefficients(SWS_CS_ITU709);
  constexpr int one = 1 << 16;
  sws_setColorspaceDetails(out.get(), table, 1, table, is_rgb(to), 0, one, one);
  if (sws_init_context(out.get(), nullptr, nullptr) < 0)
    throw std::logic_error("libswscale can't convert to the encoder's pixels");
  return out;
}

class StreamSink : public FrameSink {
 public:
  explicit StreamSink(const StreamSettings& settings)
      : settings_(settings),
        muxer_(settings),
        scaler_(scaler_for(static_cast<int>(settings.width), static_cast<int>(settings.height),
                           pixel_format(settings))),
        frame_(allocated(av_frame_alloc())) {
    frame_->format = pixel_format(settings);
    frame_->width = static_cast<int>(settings.width);
    frame_->height = static_cast<int>(settings.height);
    if (av_frame_get_buffer(frame_.get(), 0) < 0) throw std::bad_alloc();
  }

  void add(const RgbFrame& frame) override {
    // The encoder may still hold the last frame's pixels.
    if (av_frame_make_writable(frame_.get()) < 0) throw std::bad_alloc();
    const uint8_t* const from[] = {padded(frame.rgb)};
    const int stride[] = {static_cast<int>(padded_row())};
    sws_scale(scaler_.get(), from, stride, 0, frame_->height, frame_->data, frame_->linesize);
    frame_->pts = frames_++;
    muxer_.encode(frame_.get());
  }

  void finish() override {
    muxer_.encode(nullptr);
    muxer_.finish();
  }

 private:
  static constexpr size_t more_pixels = 32;

  size_t padded_row() const { return (static_cast<size_t>(settings_.width) + more_pixels) * 3; }

  // libswscale reads whole vectors, beyond the ends of rows, and what it finds there shows: here it
  // is the last pixel again and again.
  const uint8_t* padded(std::span<const uint8_t> rgb) {
    const auto row = static_cast<size_t>(settings_.width) * 3;
    padded_.resize(padded_row() * static_cast<size_t>(settings_.height));
    for (size_t y = 0; y < static_cast<size_t>(settings_.height); ++y) {
      uint8_t* to = padded_.data() + y * padded_row();
      std::copy_n(rgb.data() + y * row, row, to);
      for (size_t i = row; i < padded_row(); ++i) to[i] = to[i - 3];
    }
    return padded_.data();
  }

  StreamSettings settings_;
  Muxer muxer_;
  OwnedScaler scaler_;
  OwnedFrame frame_;
  std::vector<uint8_t> padded_;
  int64_t frames_ = 0;
};

}  // namespace

Muxer::Muxer(const StreamSettings& settings) : settings_(settings) {
  listen_to_log();
  const AVCodec* codec = avcodec_find_encoder_by_name(settings.encoder.c_str());
  if (!codec)
    throw EnvironmentError(settings.encoder, "this machine's FFmpeg has no such encoder",
                           "choose another codec, or install FFmpeg from Debian's packages");
  packet_.reset(allocated(av_packet_alloc()));
  if (avformat_alloc_output_context2(&container_, nullptr, settings.muxer.c_str(), nullptr) < 0)
    throw EnvironmentError(settings.muxer, "this machine's FFmpeg can't write such files",
                           "choose another format, or install FFmpeg from Debian's packages");
  try {
    open_encoder(*codec);
    open_file();
  } catch (...) {
    avio_closep(&container_->pb);
    avformat_free_context(container_);
    throw;
  }
}

Muxer::~Muxer() {
  avio_closep(&container_->pb);
  avformat_free_context(container_);
}

void Muxer::open_encoder(const AVCodec& codec) {
  encoder_.reset(allocated(avcodec_alloc_context3(&codec)));
  auto& encoder = *encoder_;
  encoder.width = static_cast<int>(settings_.width);
  encoder.height = static_cast<int>(settings_.height);
  encoder.pix_fmt = pixel_format(settings_);
  encoder.framerate = {static_cast<int>(settings_.rate.num), static_cast<int>(settings_.rate.den)};
  encoder.time_base = av_inv_q(encoder.framerate);
  encoder.sample_aspect_ratio = {1, 1};
  encoder.thread_count = settings_.threads;
  encoder.flags |= AV_CODEC_FLAG_BITEXACT;
  if (container_->oformat->flags & AVFMT_GLOBALHEADER) encoder.flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  if (settings_.codec_tag.size() == 4) {
    const auto* tag = settings_.codec_tag.data();
    encoder.codec_tag = MKTAG(tag[0], tag[1], tag[2], tag[3]);
  }
  if (!is_rgb(encoder.pix_fmt) && encoder.pix_fmt != AV_PIX_FMT_PAL8) {
    encoder.colorspace = AVCOL_SPC_BT709;
    encoder.color_primaries = AVCOL_PRI_BT709;
    encoder.color_trc = AVCOL_TRC_BT709;
    encoder.color_range = AVCOL_RANGE_MPEG;
    if (halves_colour(encoder.pix_fmt)) encoder.chroma_sample_location = AVCHROMA_LOC_LEFT;
  }
  Dictionary options(settings_.encoder_options);
  if (const int error = avcodec_open2(&encoder, &codec, options.get()); error < 0) {
    const std::string reason = reason_of(error);
    if (settings_.encoder.ends_with("_nvenc"))
      throw EnvironmentError(settings_.encoder,
                             fmt::format("no such encoder in this machine's GPU ({})", reason),
                             "use h264 or h265, which the CPU encodes");
    throw ItemError(
        settings_.encoder,
        fmt::format("refuses a video of {}x{} ({})", settings_.width, settings_.height, reason),
        "choose another size or codec");
  }
  options.expect_all_taken(settings_.encoder);
}

void Muxer::open_file() {
  // No version, date or random numbers in the file.
  container_->flags |= AVFMT_FLAG_BITEXACT;
  stream_ = allocated(avformat_new_stream(container_, nullptr));
  stream_->time_base = encoder_->time_base;
  stream_->avg_frame_rate = encoder_->framerate;
  stream_->sample_aspect_ratio = {1, 1};
  if (avcodec_parameters_from_context(stream_->codecpar, encoder_.get()) < 0)
    throw std::bad_alloc();
  Dictionary tags(settings_.tags);
  std::swap(container_->metadata, *tags.get());

  // With the protocol's name before it, no path is taken for another protocol's.
  const std::string url = "file:" + settings_.path.string();
  container_->url = allocated(av_strdup(url.c_str()));
  int error = avio_open(&container_->pb, url.c_str(), AVIO_FLAG_WRITE);
  if (error < 0) throw_write_failed(settings_.shown_path, error);
  Dictionary options(settings_.muxer_options);
  error = avformat_write_header(container_, options.get());
  if (error < 0) throw_write_failed(settings_.shown_path, error);
  options.expect_all_taken(settings_.muxer);
}

void Muxer::encode(AVFrame* frame) {
  if (const int error = avcodec_send_frame(encoder_.get(), frame); error < 0)
    throw EnvironmentError(settings_.encoder, fmt::format("failed ({})", reason_of(error)),
                           "choose another codec");
  drain();
}

void Muxer::drain() {
  while (true) {
    int error = avcodec_receive_packet(encoder_.get(), packet_.get());
    if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return;
    if (error < 0)
      throw EnvironmentError(settings_.encoder, fmt::format("failed ({})", reason_of(error)),
                             "choose another codec");
    // Not all encoders say it, and the last frame would have no length without it.
    if (packet_->duration == 0) packet_->duration = 1;
    av_packet_rescale_ts(packet_.get(), encoder_->time_base, stream_->time_base);
    packet_->stream_index = stream_->index;
    error = av_interleaved_write_frame(container_, packet_.get());
    if (error < 0) throw_write_failed(settings_.shown_path, error);
  }
}

void Muxer::finish() {
  int error = av_write_trailer(container_);
  if (error < 0) throw_write_failed(settings_.shown_path, error);
  error = avio_closep(&container_->pb);
  if (error < 0) throw_write_failed(settings_.shown_path, error);
}

std::unique_ptr<FrameSink> open_stream_sink(const StreamSettings& settings) {
  return std::make_unique<StreamSink>(settings);
}

}  // namespace backlot
