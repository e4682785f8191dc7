#include "media/video_codecs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "base/text.h"
#include "media/picture_io.h"

namespace backlot {
namespace {

struct Format {
  VideoFormat format;
  std::string_view name, muxer;
  std::string_view codecs;  // the first is its own
};

constexpr std::string_view all_codecs = "h264 h265 av1 vp9 h264_nvenc h265_nvenc ffv1";

constexpr Format formats[] = {
    {VideoFormat::mp4, "mp4", "mp4", "h264 h265 av1 vp9 h264_nvenc h265_nvenc"},
    {VideoFormat::mov, "mov", "mov", "h264 h265 h264_nvenc h265_nvenc"},
    {VideoFormat::mkv, "mkv", "matroska", all_codecs},
    {VideoFormat::webm, "webm", "webm", "vp9 av1"},
    {VideoFormat::gif, "gif", "gif", ""},
    {VideoFormat::webp, "webp", "", ""},
    {VideoFormat::png_sequence, "png-sequence", "", ""},
};

const Format& facts_of(VideoFormat format) {
  return *std::find_if(std::begin(formats), std::end(formats),
                       [&](const Format& known) { return known.format == format; });
}

// `quality` times `slope` below `at_zero` is the crf; 75 gives about what the encoder takes by
// itself: 23, 28, 35 (SVT-AV1's) and 31 (Google's advice for VP9 at this size).
struct Codec {
  std::string_view name;
  double at_zero, slope;
  int worst_crf;
  bool ten_bits;
};

constexpr Codec codecs[] = {
    {"h264", 51, 0.37, 51, true},        {"h265", 54, 0.35, 51, true},
    {"av1", 65, 0.42, 63, true},         {"vp9", 63, 0.42, 63, true},
    {"h264_nvenc", 51, 0.37, 51, false}, {"h265_nvenc", 54, 0.35, 51, true},
};

const Codec* find_codec(std::string_view name) {
  const auto found = std::find_if(std::begin(codecs), std::end(codecs),
                                  [&](const Codec& known) { return known.name == name; });
  return found == std::end(codecs) ? nullptr : found;
}

std::vector<std::string> words(std::string_view text) {
  return text.empty() ? std::vector<std::string>{} : split(text, ' ');
}

bool holds(VideoFormat format, const std::string& codec) {
  const auto all = words(facts_of(format).codecs);
  return std::find(all.begin(), all.end(), codec) != all.end();
}

std::string listed(std::string_view names) {
  std::string out(names);
  for (size_t at = 0; (at = out.find(' ', at)) != out.npos; at += 2) out.replace(at, 1, ", ");
  return out;
}

std::optional<VideoProblem> codec_problem(const VideoSettings& settings) {
  const auto& format = facts_of(settings.format);
  if (settings.codec.empty() || holds(settings.format, settings.codec)) return std::nullopt;
  if (!has_codecs(settings.format))
    return VideoProblem{"codec", fmt::format("{} has no choice of codecs", format.name),
                        "leave it out, or choose the format mp4, mov, mkv or webm"};
  const auto known = words(all_codecs);
  if (std::find(known.begin(), known.end(), settings.codec) != known.end())
    return VideoProblem{"codec", fmt::format("{} can't hold {}", format.name, settings.codec),
                        fmt::format("it holds {}", listed(format.codecs))};
  const std::vector<std::string_view> names(known.begin(), known.end());
  const std::string meant = nearest(settings.codec, names);
  return VideoProblem{"codec", fmt::format("no codec is called '{}'", printable(settings.codec)),
                      meant.empty() ? fmt::format("{} holds {}", format.name, listed(format.codecs))
                                    : fmt::format("did you mean '{}'?", meant)};
}

std::optional<VideoProblem> crf_problem(const VideoSettings& settings) {
  if (!settings.crf) return std::nullopt;
  const std::string name = codec_of(settings);
  const Codec* codec = find_codec(name);
  if (!codec)
    return VideoProblem{"crf", fmt::format("{} has no such scale", name),
                        name == "webp" || name == "gif" ? "use quality" : "leave it out"};
  if (*settings.crf < 0 || *settings.crf > codec->worst_crf)
    return VideoProblem{"crf", fmt::format("{} is out of range", *settings.crf),
                        fmt::format("for {} it is 0 (best) to {}", name, codec->worst_crf)};
  return std::nullopt;
}

std::optional<VideoProblem> depth_problem(const VideoSettings& settings) {
  if (settings.bit_depth == 8) return std::nullopt;
  if (settings.bit_depth != 10)
    return VideoProblem{"bit_depth", fmt::format("{} bits are not offered", settings.bit_depth),
                        "use 8 or 10"};
  const std::string name = codec_of(settings);
  const Codec* codec = find_codec(name);
  if (codec && codec->ten_bits) return std::nullopt;
  return VideoProblem{"bit_depth", fmt::format("{} holds 8 bits", name),
                      "use 8, or the codec h264, h265, av1 or vp9"};
}

std::optional<VideoProblem> rate_problem(const VideoSettings& settings) {
  const auto [num, den] = settings.rate;
  constexpr int64_t most = 240;
  constexpr int64_t largest = 1'000'000;  // FFmpeg's fractions are of 32 bits
  if (num < 1 || den < 1 || num > largest || den > largest || num > most * den)
    return VideoProblem{"fps", fmt::format("{}/{} frames a second are out of range", num, den),
                        fmt::format("use up to {}", most)};
  // Players take shorter times than two hundredths of a second for mistakes.
  if (settings.format == VideoFormat::gif && num > 50 * den)
    return VideoProblem{"fps", "a GIF plays at most 50 frames a second",
                        "use fewer, or the format webp or mp4"};
  return std::nullopt;
}

// Sizes of odd numbers can't have their colour halved, so they don't.
std::string pixel_format(bool odd, int bit_depth) {
  return fmt::format("yuv{}p{}", odd ? 444 : 420, bit_depth == 10 ? "10le" : "");
}

// Numbers of threads are fixed, because some encoders' output depends on them. `small`: a side too
// small for SVT-AV1.
void choose_encoder(StreamSettings& out, const std::string& codec, bool odd, bool small, int crf) {
  const std::string number = std::to_string(crf);
  out.threads = 4;
  if (codec == "h264") {
    out.encoder = "libx264";
    out.encoder_options = {{"preset", "medium"}, {"crf", number}};
  } else if (codec == "h265") {
    out.encoder = "libx265";
    // Without `info`: what it would write of itself has the CPU's kind in it.
    out.encoder_options = {{"preset", "medium"},
                           {"crf", number},
                           {"x265-params", "log-level=none:info=0:pools=4:frame-threads=2"}};
  } else if (codec == "vp9") {
    out.encoder = "libvpx-vp9";
    out.encoder_options = {
        {"deadline", "good"},  {"cpu-used", "2"}, {"crf", number},         {"b", "0"},
        {"tile-columns", "1"}, {"row-mt", "0"},   {"lag-in-frames", "25"}, {"auto-alt-ref", "1"}};
  } else if (codec == "av1" && (odd || small)) {
    // Slower, but without these limits.
    out.encoder = "libaom-av1";
    out.encoder_options = {{"cpu-used", "6"}, {"crf", number}, {"b", "0"}, {"row-mt", "0"}};
  } else if (codec == "av1") {
    out.encoder = "libsvtav1";
    out.encoder_options = {{"preset", "6"}, {"crf", number}, {"svtav1-params", "lp=4"}};
  } else if (codec == "ffv1") {
    out.encoder = "ffv1";
    out.encoder_options = {{"level", "3"}, {"slices", "4"}, {"slicecrc", "1"}, {"g", "1"}};
    out.pixel_format = "bgr0";
  } else {
    out.encoder = codec == "h264_nvenc" ? "h264_nvenc" : "hevc_nvenc";
    out.threads = 1;
    out.encoder_options = {{"preset", "p5"}, {"rc", "vbr"}, {"cq", number}, {"b", "0"}};
    if (out.pixel_format == "yuv420p10le") out.pixel_format = "p010le";
    if (out.pixel_format == "yuv444p10le") out.pixel_format = "yuv444p16le";
  }
}

}  // namespace

std::optional<VideoFormat> video_format(std::string_view name) {
  for (const auto& known : formats)
    if (known.name == name) return known.format;
  return std::nullopt;
}

std::string_view name_of(VideoFormat format) { return facts_of(format).name; }

std::string_view file_extension(VideoFormat format) {
  return format == VideoFormat::png_sequence ? "" : facts_of(format).name;
}

FrameRate frame_rate(double frames_per_second) {
  if (!std::isfinite(frames_per_second) || frames_per_second <= 0 || frames_per_second > 1e5)
    return {0, 1};
  const auto distance = [&](FrameRate rate) {
    return std::abs(frames_per_second -
                    static_cast<double>(rate.num) / static_cast<double>(rate.den));
  };
  FrameRate best{std::llround(frames_per_second), 1};
  if (distance(best) < 1e-9) return best;
  // 23.976, 29.97 and 59.94 are how people write these.
  const FrameRate broadcast{std::llround(frames_per_second * 1.001) * 1000, 1001};
  if (distance(broadcast) < 0.0006) return broadcast;
  for (int64_t den = 2; den <= 1000; ++den) {
    const FrameRate other{std::llround(frames_per_second * static_cast<double>(den)), den};
    if (distance(other) + 1e-12 < distance(best)) best = other;
  }
  return best;
}

std::optional<VideoProblem> find_problem(const VideoSettings& settings) {
  if (auto problem = codec_problem(settings)) return problem;
  if (settings.quality < 1 || settings.quality > 100)
    return VideoProblem{"quality", fmt::format("{} is out of range", settings.quality),
                        "use 1 to 100"};
  if (auto problem = crf_problem(settings)) return problem;
  if (auto problem = depth_problem(settings)) return problem;
  return rate_problem(settings);
}

bool has_codecs(VideoFormat format) { return !facts_of(format).codecs.empty(); }

std::string codec_of(const VideoSettings& settings) {
  if (settings.format == VideoFormat::png_sequence) return "png";
  if (!has_codecs(settings.format)) return std::string(name_of(settings.format));
  return settings.codec.empty() ? words(facts_of(settings.format).codecs).front() : settings.codec;
}

std::optional<int> start_crf(const VideoSettings& settings) {
  const Codec* codec = find_codec(codec_of(settings));
  if (!codec) return std::nullopt;
  if (settings.crf) return settings.crf;
  const double crf = codec->at_zero - codec->slope * settings.quality;
  return std::clamp(static_cast<int>(std::lround(crf)), 0, codec->worst_crf);
}

int worst_crf(const std::string& codec) { return find_codec(codec)->worst_crf; }

StreamSettings stream_settings(const VideoSettings& settings, int64_t width, int64_t height,
                               std::optional<int> crf) {
  const bool odd = width % 2 || height % 2;
  const bool small = width < 64 || height < 64;
  const std::string codec = codec_of(settings);
  StreamSettings out;
  out.muxer = facts_of(settings.format).muxer;
  out.width = width;
  out.height = height;
  out.rate = settings.rate;
  out.pixel_format = pixel_format(odd, settings.bit_depth);
  choose_encoder(out, codec, odd, small, crf.value_or(0));
  const bool mp4 = settings.format == VideoFormat::mp4 || settings.format == VideoFormat::mov;
  // What lets a browser begin to play before it has the whole file.
  if (mp4) out.muxer_options = {{"movflags", "+faststart"}};
  // QuickTime's older tags have no place for `description`.
  if (settings.format == VideoFormat::mov)
    out.muxer_options = {{"movflags", "+faststart+use_metadata_tags"}};
  if (!mp4) out.muxer_options = {{"cues_to_front", "1"}};
  // The one of H.265's two tags that Apple's players take.
  if (mp4 && (codec == "h265" || codec == "h265_nvenc")) out.codec_tag = "hvc1";
  return out;
}

StreamSettings store_settings(int64_t width, int64_t height, FrameRate rate) {
  VideoSettings settings;
  settings.format = VideoFormat::mkv;
  settings.codec = "ffv1";
  settings.rate = rate;
  StreamSettings out = stream_settings(settings, width, height, std::nullopt);
  out.muxer_options.clear();
  return out;
}

}  // namespace backlot
