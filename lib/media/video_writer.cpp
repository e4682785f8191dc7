#include "media/video_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/sha256.h"
#include "base/text.h"
#include "media/embed.h"
#include "media/frame_sinks.h"
#include "media/picture_io.h"
#include "media/quality_search.h"
#include "media/temporary_output.h"
#include "media/video_codecs.h"
#include "media/video_library.h"
#include "media/video_metadata.h"

namespace backlot {
namespace {

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(folder)) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

uint64_t bytes_of(const fs::path& path) {
  if (!fs::is_directory(path)) return fs::file_size(path);
  uint64_t sum = 0;
  for (const auto& file : files_in(path)) sum += fs::file_size(file);
  return sum;
}

// A file under a temporary name, and how it came about.
struct Candidate {
  TemporaryOutput output;
  uint64_t bytes = 0;
  std::optional<int> crf;
  std::string pixel_format;
};

}  // namespace

struct VideoWriter::State {
  State(fs::path final_path, int64_t w, int64_t h, VideoSettings s)
      : path(std::move(final_path)), width(w), height(h), settings(std::move(s)) {}

  fs::path path;
  int64_t width, height;
  VideoSettings settings;
  int64_t frames = 0;

  // Written as the frames come: the file as it is asked for, and the frames without loss where they
  // may be needed again. A GIF's palette takes all frames, so it has the second alone.
  std::optional<Candidate> first;
  std::unique_ptr<FrameSink> first_sink;
  std::optional<TemporaryOutput> store;
  std::unique_ptr<FrameSink> store_sink;

  bool is_folder() const { return settings.format == VideoFormat::png_sequence; }
  std::optional<QualityScale> scale() const;
  TemporaryOutput temporary(TemporaryOutput::Kind kind) const {
    return TemporaryOutput(path, settings.temporary_tag, kind);
  }
  std::unique_ptr<FrameSink> open(Candidate& candidate, int level) const;
  Candidate encode_again(int level) const;
  void complete(Candidate& candidate) const;
  std::unique_ptr<FrameSource> open_store() const;
  Candidate choose();
  Candidate shrunk_sequence();
  [[noreturn]] void throw_too_large(uint64_t smallest) const;
};

// Levels of quality, smaller files at higher ones: the codec's crf; what is missing to quality 100.
std::optional<QualityScale> VideoWriter::State::scale() const {
  if (const auto crf = start_crf(settings))
    return QualityScale{*crf, worst_crf(codec_of(settings)), 6};
  if (settings.format == VideoFormat::webp || settings.format == VideoFormat::gif)
    return QualityScale{100 - settings.quality, 99, 25};
  return std::nullopt;
}

std::unique_ptr<FrameSink> VideoWriter::State::open(Candidate& candidate, int level) const {
  const fs::path& to = candidate.output.path();
  if (is_folder()) return open_png_sink(to, path, settings.metadata);
  if (settings.format == VideoFormat::webp)
    return open_webp_sink(to, path, width, height, settings.rate, 100 - level, settings.metadata);
  const std::optional<int> crf = scale() ? std::optional(level) : std::nullopt;
  StreamSettings stream = stream_settings(settings, width, height, crf);
  stream.path = to;
  stream.shown_path = path;
  if (!settings.metadata.empty()) stream.tags = video_tags(settings.metadata);
  candidate.crf = crf;
  candidate.pixel_format = stream.pixel_format;
  return video_library().open_sink(stream);
}

void VideoWriter::State::complete(Candidate& candidate) const {
  add_xmp(candidate.output.path(), path, settings.format, settings.metadata);
  candidate.bytes = bytes_of(candidate.output.path());
}

std::unique_ptr<FrameSource> VideoWriter::State::open_store() const {
  return video_library().open_source(store->path(), max_picture_side, max_picture_pixels);
}

Candidate VideoWriter::State::encode_again(int level) const {
  // What nobody has written to for long is taken for abandoned.
  std::error_code ignored;
  fs::last_write_time(store->path(), fs::file_time_type::clock::now(), ignored);
  Candidate out{temporary(TemporaryOutput::Kind::file)};
  if (settings.format == VideoFormat::gif) {
    GifSettings gif;
    gif.path = out.output.path();
    gif.shown_path = path;
    gif.rate = settings.rate;
    gif.colours = std::max(4, 256 * (100 - level) / 100);
    out.pixel_format = "pal8";
    video_library().write_gif(gif, [this] { return open_store(); });
  } else {
    const auto sink = open(out, level);
    const auto source = open_store();
    for (Picture frame; source->next(frame);) sink->add(frame);
    sink->finish();
  }
  complete(out);
  return out;
}

void VideoWriter::State::throw_too_large(uint64_t smallest) const {
  throw ItemError("output.max_bytes",
                  fmt::format("the video takes {} at best, more than the {} allowed",
                              human_bytes(smallest), human_bytes(*settings.max_bytes)),
                  settings.format == VideoFormat::png_sequence || !scale()
                      ? "allow more, or use a format that may lose something, such as mp4"
                      : "allow more, or make fewer or smaller frames");
}

Candidate VideoWriter::State::shrunk_sequence() {
  Candidate out = std::move(*first);
  if (!settings.max_bytes || out.bytes <= *settings.max_bytes) return out;
  if (is_folder()) {
    shrink_png_sequence(out.output.path(), path, settings.metadata);
    out.bytes = bytes_of(out.output.path());
  }
  if (out.bytes > *settings.max_bytes) throw_too_large(out.bytes);
  return out;
}

// The best that fits.
Candidate VideoWriter::State::choose() {
  const auto levels = scale();
  if (!levels) return shrunk_sequence();
  QualitySearch search(*levels, settings.max_bytes);
  Candidate tried = first ? std::move(*first) : encode_again(levels->start);
  std::optional<Candidate> best;
  while (true) {
    const bool fits = !settings.max_bytes || tried.bytes <= *settings.max_bytes;
    const auto next = search.next(tried.bytes);
    if (fits) best = std::move(tried);
    if (!next) break;
    tried = encode_again(*next);
  }
  if (!best) throw_too_large(search.smallest());
  return std::move(*best);
}

VideoWriter::VideoWriter(fs::path path, int64_t width, int64_t height, VideoSettings settings) {
  if (const auto problem = find_problem(settings))
    throw ItemError("output." + problem->field, problem->what, problem->mend);
  const int64_t most = settings.format == VideoFormat::webp ? 16383 : max_picture_side;
  if (width < 1 || height < 1 || width > most || height > most)
    throw ItemError(
        path.string(),
        fmt::format("{} can't hold frames of {}x{}", name_of(settings.format), width, height),
        fmt::format("use at most {} pixels a side", most));
  state_ = std::make_unique<State>(std::move(path), width, height, std::move(settings));
  auto& s = *state_;
  using Kind = TemporaryOutput::Kind;
  const auto levels = s.scale();
  if (s.settings.format != VideoFormat::gif) {
    s.first.emplace(Candidate{s.temporary(s.is_folder() ? Kind::folder : Kind::file)});
    s.first_sink = s.open(*s.first, levels ? levels->start : 0);
  }
  if (s.settings.format == VideoFormat::gif || (levels && s.settings.max_bytes)) {
    s.store.emplace(s.temporary(Kind::file));
    StreamSettings stream = store_settings(width, height, s.settings.rate);
    stream.path = s.store->path();
    stream.shown_path = s.path;
    s.store_sink = video_library().open_sink(stream);
  }
}

VideoWriter::~VideoWriter() = default;

void VideoWriter::add(const RgbFrame& frame) {
  auto& s = *state_;
  if (frame.width != s.width || frame.height != s.height ||
      frame.rgb.size() != static_cast<size_t>(s.width * s.height * 3))
    throw std::invalid_argument("a frame's pixels do not match the video's size");
  if (s.first_sink) s.first_sink->add(frame);
  if (s.store_sink) s.store_sink->add(frame);
  ++s.frames;
}

Written VideoWriter::finish(const std::function<void(const Written&)>& before_placing) {
  auto& s = *state_;
  if (s.frames == 0)
    throw ItemError(s.path.string(), "a video without frames", "ask for at least one");
  if (s.first_sink) {
    s.first_sink->finish();
    s.first_sink.reset();
    s.complete(*s.first);
  }
  if (s.store_sink) {
    s.store_sink->finish();
    s.store_sink.reset();
  }
  Candidate chosen = s.choose();
  s.store.reset();

  chosen.output.flush();
  Written out;
  out.path = s.path;
  out.bytes = chosen.bytes;
  out.sha256 =
      s.is_folder() ? sequence_sha256(chosen.output.path()) : sha256_file(chosen.output.path());
  out.frames = s.frames;
  out.width = s.width;
  out.height = s.height;
  out.seconds = static_cast<double>(s.frames * s.settings.rate.den) /
                static_cast<double>(s.settings.rate.num);
  out.codec = codec_of(s.settings);
  out.pixel_format = chosen.pixel_format;
  out.crf = chosen.crf;
  if (before_placing) before_placing(out);
  chosen.output.place();
  return out;
}

std::string sequence_sha256(const fs::path& folder) {
  std::string listing;
  for (const auto& file : files_in(folder))
    listing += fmt::format("{}  {}\n", sha256_file(file), file.filename().string());
  return sha256_hex(listing);
}

}  // namespace backlot
