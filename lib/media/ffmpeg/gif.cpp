// GIFs with a palette of their own: libavfilter's palettegen over all frames, then paletteuse.
extern "C" {
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/opt.h>
}

#include <fmt/format.h>

#include <new>
#include <stdexcept>

#include "base/error.h"
#include "media/ffmpeg/handles.h"

namespace backlot {
namespace {

void check(int error, std::string_view doing) {
  if (error == AVERROR(ENOMEM)) throw std::bad_alloc();
  if (error < 0)
    throw EnvironmentError("gif", fmt::format("cannot {} ({})", doing, reason_of(error)),
                           "choose another format, or install FFmpeg from Debian's packages");
}

// A filter graph with inputs of opaque BGRA pixels, "in" and those of `more`, and the output "out".
class Graph {
 public:
  Graph(int64_t width, int64_t height, FrameRate rate) : graph_(allocated(avfilter_graph_alloc())) {
    graph_->nb_threads = 1;
    in_ = add_input("in", width, height, rate);
  }

  AVFilterContext* add_input(const char* name, int64_t width, int64_t height, FrameRate rate) {
    const std::string arguments =
        fmt::format("video_size={}x{}:pix_fmt={}:time_base={}/{}:pixel_aspect=1/1", width, height,
                    static_cast<int>(AV_PIX_FMT_RGB32), rate.den, rate.num);
    AVFilterContext* out = nullptr;
    check(avfilter_graph_create_filter(&out, avfilter_get_by_name("buffer"), name,
                                       arguments.c_str(), nullptr, graph_.get()),
          "make a filter");
    return out;
  }

  AVFilterContext* add_filter(const char* filter, const std::string& arguments) {
    AVFilterContext* out = nullptr;
    check(avfilter_graph_create_filter(&out, avfilter_get_by_name(filter), filter,
                                       arguments.c_str(), nullptr, graph_.get()),
          "make a filter");
    return out;
  }

  void connect(AVFilterContext* filter) {
    out_ = add_filter("buffersink", "");
    check(avfilter_link(in_, 0, filter, 0), "link filters");
    check(avfilter_link(filter, 0, out_, 0), "link filters");
    check(avfilter_graph_config(graph_.get(), nullptr), "configure filters");
  }

  AVFilterContext* input() const { return in_; }

  // The next frame that comes out; false while there is none.
  bool take(AVFrame* frame) {
    av_frame_unref(frame);
    const int error = av_buffersink_get_frame(out_, frame);
    if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return false;
    check(error, "filter a frame");
    return true;
  }

 private:
  OwnedGraph graph_;
  AVFilterContext *in_ = nullptr, *out_ = nullptr;
};

void feed(AVFilterContext* input, AVFrame* frame) {
  check(av_buffersrc_add_frame_flags(
            input, frame,
            frame ? AV_BUFFERSRC_FLAG_KEEP_REF | AV_BUFFERSRC_FLAG_PUSH : AV_BUFFERSRC_FLAG_PUSH),
        "filter a frame");
}

// Filters keep frames, so each one is new.
OwnedFrame opaque_frame(const Picture& picture, int64_t index) {
  OwnedFrame out(allocated(av_frame_alloc()));
  out->format = AV_PIX_FMT_RGB32;
  out->width = static_cast<int>(picture.width);
  out->height = static_cast<int>(picture.height);
  out->pts = index;
  if (av_frame_get_buffer(out.get(), 0) < 0) throw std::bad_alloc();
  for (int64_t y = 0; y < picture.height; ++y) {
    const uint8_t* from = picture.rgb.data() + y * picture.width * 3;
    auto* to = reinterpret_cast<uint32_t*>(out->data[0] + y * out->linesize[0]);
    for (int64_t x = 0; x < picture.width; ++x)
      to[x] = 0xFF000000u | uint32_t{from[x * 3]} << 16 | uint32_t{from[x * 3 + 1]} << 8 |
              uint32_t{from[x * 3 + 2]};
  }
  return out;
}

OwnedFrame make_palette(FrameSource& source, const GifSettings& settings) {
  Graph graph(source.facts().width, source.facts().height, settings.rate);
  graph.connect(graph.add_filter("palettegen", fmt::format("max_colors={}", settings.colours)));
  Picture picture;
  for (int64_t i = 0; source.next(picture); ++i)
    feed(graph.input(), opaque_frame(picture, i).get());
  feed(graph.input(), nullptr);
  OwnedFrame palette(allocated(av_frame_alloc()));
  if (!graph.take(palette.get())) throw std::logic_error("palettegen gave no palette");
  palette->pts = 0;
  return palette;
}

}  // namespace

void write_palette_gif(const GifSettings& settings,
                       const std::function<std::unique_ptr<FrameSource>()>& open) {
  listen_to_log();
  const OwnedFrame palette = make_palette(*open(), settings);
  const auto source = open();
  const VideoFacts& facts = source->facts();

  Graph graph(facts.width, facts.height, settings.rate);
  // Error diffusion within what has changed: what stands still neither flickers nor takes space.
  AVFilterContext* filter = graph.add_filter("paletteuse", "dither=sierra2_4a:diff_mode=rectangle");
  AVFilterContext* colours =
      graph.add_input("palette", palette->width, palette->height, settings.rate);
  check(avfilter_link(colours, 0, filter, 1), "link filters");
  graph.connect(filter);
  feed(colours, palette.get());
  feed(colours, nullptr);

  StreamSettings stream;
  stream.path = settings.path;
  stream.shown_path = settings.shown_path;
  stream.muxer = stream.encoder = "gif";
  stream.pixel_format = "pal8";
  stream.width = facts.width;
  stream.height = facts.height;
  stream.rate = settings.rate;
  stream.muxer_options = {{"loop", "0"}};
  Muxer muxer(stream);
  const OwnedFrame frame(allocated(av_frame_alloc()));
  int64_t frames = 0;
  const auto pass_on = [&] {
    while (graph.take(frame.get())) {
      frame->pts = frames++;
      muxer.encode(frame.get());
    }
  };
  Picture picture;
  for (int64_t i = 0; source->next(picture); ++i) {
    feed(graph.input(), opaque_frame(picture, i).get());
    pass_on();
  }
  feed(graph.input(), nullptr);
  pass_on();
  muxer.encode(nullptr);
  muxer.finish();
}

}  // namespace backlot
