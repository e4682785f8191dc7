#include "bench/charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "base/utf8.h"
#include "bench/tables.h"

namespace backlot {
namespace {

constexpr double letter = 7;  // pixels that a letter of 12 pixels takes, on average

// One logarithmic axis: values to pixels.
struct LogAxis {
  double least, most;  // powers of ten
  double from, to;     // pixels
  double operator()(double value) const {
    return from + (to - from) * (std::log10(value) - least) / (most - least);
  }
};

struct Box {
  double x, y, width, height;
  bool meets(const Box& other) const {
    return x < other.x + other.width && other.x < x + width && y < other.y + other.height &&
           other.y < y + height;
  }
};

std::string text_at(double x, double y, const char* anchor, const std::string& text,
                    const char* css = "tick") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n",
                     x, y, anchor, css, escape_html(text));
}

std::string line(double x1, double y1, double x2, double y2, const char* css) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", x1, y1, x2,
      y2, css);
}

std::string svg(int width, double height, const std::string& label, const std::string& inside) {
  return fmt::format(
      "<svg class=\"chart\" viewBox=\"0 0 {} {:.0f}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
      width, height, escape_html(label), inside);
}

std::string power_of_ten(int exponent) {
  if (exponent < 0) return fmt::format("{:g}", std::pow(10.0, exponent));
  constexpr const char* units[] = {"", "k", "M", "G", "T", "P", "E"};
  const int thousand = std::min(exponent / 3, 6);
  return fmt::format("{}{}{}", static_cast<int64_t>(std::pow(10.0, exponent - 3 * thousand)),
                     thousand ? " " : "", units[thousand]);
}

class Roofline {
 public:
  Roofline(const MeasuredCeiling& ceiling, const std::vector<RooflineDot>& dots, int width)
      : ceiling_(ceiling), width_(width), height_(width < 600 ? 380 : 520) {
    for (const auto& dot : dots)
      if (dot.flops_per_byte > 0 && dot.flops_per_second > 0) dots_.push_back(dot);
    // Large dots first, so that small ones lie on top.
    std::ranges::stable_sort(dots_, std::greater{}, &RooflineDot::share);
    const double ridge = ceiling.flops_per_second / ceiling.bytes_per_second;
    double left = ridge / 30, right = ridge * 10, low = ceiling.flops_per_second / 100,
           high = ceiling.flops_per_second * 1.5;
    for (const auto& dot : dots_) {
      left = std::min(left, dot.flops_per_byte / 1.5);
      right = std::max(right, dot.flops_per_byte * 1.5);
      low = std::min(low, dot.flops_per_second / 2);
      high = std::max(high, dot.flops_per_second * 1.5);
    }
    for (const auto& dot : dots_) colour(dot.network);
    legend_ = draw_legend();
    x_ = {std::log10(left), std::log10(right), 56, width - 14.0};
    y_ = {std::log10(low), std::log10(high), height_ - 48, legend_bottom_ + 24};
  }

  std::string draw() {
    return svg(width_, height_, "roofline of " + ceiling_.device + " in " + ceiling_.dtype,
               grid() + roof() + dots() + labels() + legend_);
  }

 private:
  size_t colour(const std::string& network) {
    return colours_.emplace(network, colours_.size()).first->second % 5;
  }
  double radius(const RooflineDot& dot) const {
    return 3 + (width_ < 600 ? 12 : 20) * std::sqrt(std::clamp(dot.share, 0.0, 1.0));
  }

  std::string grid() const {
    std::string out;
    for (int e = static_cast<int>(std::ceil(x_.least)); e <= std::floor(x_.most); ++e) {
      const double x = x_(std::pow(10.0, e));
      out +=
          line(x, y_.from, x, y_.to, "grid") + text_at(x, y_.from + 16, "middle", power_of_ten(e));
    }
    for (int e = static_cast<int>(std::ceil(y_.least)); e <= std::floor(y_.most); ++e) {
      const double y = y_(std::pow(10.0, e));
      out +=
          line(x_.from, y, x_.to, y, "grid") + text_at(x_.from - 6, y + 4, "end", power_of_ten(e));
    }
    return out +
           text_at((x_.from + x_.to) / 2, height_ - 12, "middle", "FLOP for each byte moved") +
           text_at(4, 20, "start", "FLOP/s");
  }

  std::string roof() {
    const double ridge = ceiling_.flops_per_second / ceiling_.bytes_per_second;
    const double left = std::pow(10.0, x_.least), low = std::pow(10.0, y_.least);
    // The slope leaves the plot at its left or at its lower edge.
    const double start = std::max(left, low / ceiling_.bytes_per_second);
    const double top = y_(ceiling_.flops_per_second);
    std::string out = fmt::format(
        "<polyline class=\"roof\" points=\"{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}\"/>\n",
        x_(start), y_(start * ceiling_.bytes_per_second), x_(ridge), top, x_.to, top);
    const std::string flops = human_rate(ceiling_.flops_per_second) + "FLOP/s";
    const std::string bytes = human_rate(ceiling_.bytes_per_second) + "B/s";
    const double flops_width = letter * static_cast<double>(flops.size());
    // Left of the ridge nothing can lie at the height of the roof.
    const bool fits = x_(ridge) - flops_width > x_.from + 12;
    const Box box{fits ? x_(ridge) - flops_width - 10 : x_(ridge), fits ? top - 8 : top - 20,
                  flops_width, 16};
    out += text_at(fits ? x_(ridge) - 10 : box.x, box.y + 12, fits ? "end" : "start", flops,
                   "ceiling");
    taken_.push_back(box);
    const double middle = std::sqrt(start * ridge);
    const double x = x_(middle), y = y_(middle * ceiling_.bytes_per_second);
    const double angle =
        -std::atan2(y_(start * ceiling_.bytes_per_second) - top, x_(ridge) - x_(start)) * 180 /
        3.14159265;
    out += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" class=\"ceiling\" "
        "transform=\"rotate({:.1f} {:.1f} {:.1f})\" dy=\"-7\">{}</text>\n",
        x, y, angle, x, y, bytes);
    return out;
  }

  std::string dots() {
    std::string out;
    for (const auto& dot : dots_) {
      const double x = x_(dot.flops_per_byte), y = y_(dot.flops_per_second), r = radius(dot);
      out += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" class=\"dot c{}\"><title>{}</title>"
          "</circle>\n",
          x, y, r, colour(dot.network), escape_html(dot.facts));
    }
    return out;
  }

  // Those that cost most are named where there is room: beside them, or above or below.
  std::string labels() {
    std::ranges::stable_sort(dots_, std::greater{}, &RooflineDot::seconds);
    std::string out;
    const size_t most = width_ < 600 ? 5 : 14;
    size_t placed = 0;
    for (const auto& dot : dots_) {
      if (placed == most || (placed > 2 && dot.share < 0.01)) break;
      const double x = x_(dot.flops_per_byte), y = y_(dot.flops_per_second), r = radius(dot) + 3;
      const double wide = letter * static_cast<double>(decode_utf8(dot.label).size());
      const Box places[] = {{x + r, y - 7, wide, 14},
                            {x - r - wide, y - 7, wide, 14},
                            {x - wide / 2, y - r - 14, wide, 14},
                            {x - wide / 2, y + r, wide, 14}};
      for (const Box& box : places) {
        const bool inside = box.x >= x_.from && box.x + box.width <= x_.to && box.y >= y_.to &&
                            box.y + box.height <= y_.from;
        if (!inside || std::ranges::any_of(taken_, [&](const Box& b) { return b.meets(box); }))
          continue;
        out += text_at(box.x, box.y + 11, "start", dot.label, "name");
        taken_.push_back(box);
        ++placed;
        break;
      }
    }
    return out;
  }

  std::string draw_legend() {
    std::string out;
    double x = 64, y = 16;
    for (const auto& [network, index] : colours_) {
      const double wide = 24 + letter * static_cast<double>(decode_utf8(network).size());
      if (x + wide > width_) {
        x = 64;
        y += 18;
      }
      out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" class=\"dot c{}\"/>\n", x, y,
                         index % 5) +
             text_at(x + 9, y + 4, "start", network);
      x += wide;
    }
    legend_bottom_ = y;
    return out;
  }

  MeasuredCeiling ceiling_;
  std::vector<RooflineDot> dots_;
  int width_;
  double height_;
  LogAxis x_{}, y_{};
  std::vector<Box> taken_;
  std::string legend_;
  double legend_bottom_ = 16;
  std::map<std::string, size_t> colours_;
};

// 1, 2 or 5 times a power of ten, so that about `wanted` of them fit.
double nice_step(double range, int wanted) {
  const double rough = range / wanted, power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough) return factor * power;
  return 10 * power;
}

size_t colour_of_stage(const std::string& name) {
  constexpr std::string_view names[] = {"load", "text_encode", "denoise", "decode", "write"};
  const auto* found = std::ranges::find(names, name);
  return found == std::end(names) ? 5 : static_cast<size_t>(found - std::begin(names));
}

}  // namespace

std::string roofline_svg(const MeasuredCeiling& ceiling, const std::vector<RooflineDot>& dots,
                         int width) {
  if (ceiling.flops_per_second <= 0 || ceiling.bytes_per_second <= 0) return "";
  return Roofline(ceiling, dots, width).draw();
}

std::string timeline_svg(const Timeline& timeline, int width) {
  double end = 0;
  std::vector<std::string> tracks;
  std::vector<bool> has_steps;
  for (const auto& bar : timeline.bars) {
    end = std::max(end, bar.begin + bar.seconds);
    if (std::ranges::find(tracks, bar.track) == tracks.end()) tracks.push_back(bar.track);
    has_steps.resize(tracks.size());
    if (bar.kind == "step")
      has_steps[static_cast<size_t>(std::ranges::find(tracks, bar.track) - tracks.begin())] = true;
  }
  if (end <= 0) return "";
  constexpr double left = 8;
  const double right = width - 10.0;
  std::map<std::string, double> tops;
  double height = 6;
  for (size_t i = 0; i < tracks.size(); ++i) {
    tops[tracks[i]] = height;
    height += has_steps[i] ? 64 : 52;
  }
  height += 22;
  const auto x = [&](double seconds) { return left + (right - left) * seconds / end; };
  std::string out;
  const double step = nice_step(end, width < 600 ? 4 : 10);
  for (double at = 0; at <= end; at += step) {
    out += line(x(at), 6, x(at), height - 22, "grid");
    const bool last = x(at) > right - 24;
    out += text_at(x(at), height - 7,
                   at == 0 ? "start"
                   : last  ? "end"
                           : "middle",
                   at == 0 ? "0" : human_seconds(at));
  }
  for (const auto& [track, top] : tops) out += text_at(left, top + 14, "start", track, "name");
  for (const auto& bar : timeline.bars) {
    const bool is_step = bar.kind == "step";
    const double y = tops[bar.track] + (is_step ? 45 : 20);
    const double wide = std::max(x(bar.seconds) - left, 0.8);
    out += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" rx=\"2\" class=\"bar "
        "{}\"><title>{}: {} at {}</title></rect>\n",
        x(bar.begin), y, wide, is_step ? 10 : 23,
        is_step ? "step" : fmt::format("c{}", colour_of_stage(bar.name)), escape_html(bar.name),
        human_seconds(bar.seconds), human_seconds(bar.begin));
    if (!is_step && wide > letter * static_cast<double>(bar.name.size()) + 8)
      out += text_at(x(bar.begin) + 5, y + 16, "start", bar.name, "on");
  }
  return svg(width, height, "timeline of " + timeline.title, out);
}

}  // namespace backlot
