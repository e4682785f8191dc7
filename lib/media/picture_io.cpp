#include "media/picture_io.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <stdexcept>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "media/codecs.h"
#include "media/embed.h"
#include "media/embedded.h"
#include "media/exif.h"

namespace backlot {
namespace {

[[noreturn]] void throw_too_large(size_t smallest, uint64_t max_bytes, std::string_view mend) {
  throw ItemError("output.max_bytes",
                  fmt::format("the picture takes {} at best, more than the {} allowed",
                              human_bytes(smallest), human_bytes(max_bytes)),
                  std::string(mend));
}

// The highest quality up to `quality` whose file fits; file size grows with quality.
std::string best_that_fits(int quality, std::optional<uint64_t> max_bytes,
                           const std::function<std::string(int)>& encode) {
  std::string out = encode(quality);
  if (!max_bytes || out.size() <= *max_bytes) return out;
  std::string best;
  size_t smallest = out.size();
  int low = 1, high = quality - 1;
  while (low <= high) {
    const int middle = (low + high) / 2;
    out = encode(middle);
    smallest = std::min(smallest, out.size());
    if (out.size() <= *max_bytes) {
      best = std::move(out);
      low = middle + 1;
    } else {
      high = middle - 1;
    }
  }
  if (best.empty()) throw_too_large(smallest, *max_bytes, "allow more or make a smaller picture");
  return best;
}

std::string encode_png_within(const Picture& picture, std::optional<uint64_t> max_bytes,
                              const PictureMetadata& metadata) {
  std::vector<std::pair<std::string, std::string>> text;
  if (!metadata.empty()) text = png_text(metadata);
  std::string out = encode_png(picture, PngEffort::fast, text);
  if (!max_bytes || out.size() <= *max_bytes) return out;
  std::string best = encode_png(picture, PngEffort::best, text);
  if (best.size() < out.size()) out = std::move(best);
  if (out.size() > *max_bytes)
    throw_too_large(out.size(), *max_bytes, "use format webp or a larger max_bytes");
  return out;
}

// Turns `pixels` of `channels` bytes, width and height as stored, upright. EXIF's orientations:
// 1 to 4 keep the sides (2 and 3 mirror left and right, 3 and 4 top and bottom), 5 to 8 swap them.
std::vector<uint8_t> turn(const std::vector<uint8_t>& pixels, int64_t width, int64_t height,
                          int64_t channels, int orientation) {
  const bool swap = orientation >= 5;
  const bool mirror_x =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirror_y =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int64_t out_width = swap ? height : width, out_height = swap ? width : height;
  std::vector<uint8_t> out(pixels.size());
  for (int64_t y = 0; y < out_height; ++y) {
    for (int64_t x = 0; x < out_width; ++x) {
      const int64_t across = swap ? y : x, down = swap ? x : y;
      const int64_t from_x = mirror_x ? width - 1 - across : across;
      const int64_t from_y = mirror_y ? height - 1 - down : down;
      std::copy_n(pixels.begin() + (from_y * width + from_x) * channels, channels,
                  out.begin() + (y * out_width + x) * channels);
    }
  }
  return out;
}

void make_upright(DecodedPicture& decoded, int orientation) {
  if (orientation == 1) return;
  auto& picture = decoded.picture;
  picture.rgb = turn(picture.rgb, picture.width, picture.height, 3, orientation);
  if (!decoded.alpha.empty())
    decoded.alpha = turn(decoded.alpha, picture.width, picture.height, 1, orientation);
  if (orientation >= 5) std::swap(picture.width, picture.height);
}

}  // namespace

std::optional<PictureKind> picture_kind(std::string_view name) {
  if (name == "png") return PictureKind::png;
  if (name == "jpeg" || name == "jpg") return PictureKind::jpeg;
  if (name == "webp") return PictureKind::webp;
  return std::nullopt;
}

std::string_view file_extension(PictureKind kind) {
  return kind == PictureKind::png ? "png" : kind == PictureKind::jpeg ? "jpg" : "webp";
}

std::string encode_picture(const Picture& picture, const PictureFormat& format,
                           const PictureMetadata& metadata) {
  if (picture.width < 1 || picture.height < 1 ||
      picture.rgb.size() != static_cast<size_t>(picture.width * picture.height * 3))
    throw std::invalid_argument("a picture's pixels do not match its size");
  if (format.kind == PictureKind::png)
    return encode_png_within(picture, format.max_bytes, metadata);
  if (format.kind == PictureKind::jpeg) {
    std::vector<std::string> segments;
    if (!metadata.empty()) segments = jpeg_segments(metadata);
    return best_that_fits(format.quality, format.max_bytes,
                          [&](int quality) { return encode_jpeg(picture, quality, segments); });
  }
  WebpChunks chunks;
  if (!metadata.empty()) chunks = webp_chunks(metadata);
  return best_that_fits(format.quality, format.max_bytes, [&](int quality) {
    return encode_webp(picture, quality, chunks.exif, chunks.xmp);
  });
}

DecodedPicture decode_picture(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return decode_picture({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

DecodedPicture decode_picture(std::string_view bytes, const std::string& name) {
  const PictureKind kind = sniff_picture(bytes, name);
  const int orientation = decode_exif(read_embedded(bytes, name).exif).orientation;
  const auto decode = kind == PictureKind::png    ? decode_png
                      : kind == PictureKind::jpeg ? decode_jpeg
                                                  : decode_webp;
  DecodedPicture out = decode(bytes, name);
  make_upright(out, orientation);
  return out;
}

void check_picture_size(uint64_t width, uint64_t height, const std::string& name) {
  const bool fits = width <= max_picture_side && height <= max_picture_side &&
                    width * height <= max_picture_pixels;
  if (width == 0 || height == 0) throw_damaged(name, "it has no pixels");
  if (!fits)
    throw LoadError(name,
                    fmt::format("{}x{} pixels, while at most {} a side and {} in all are read",
                                width, height, max_picture_side, max_picture_pixels),
                    "give a smaller picture");
}

DecodedPicture split_alpha(int64_t width, int64_t height, std::span<const uint8_t> rgba) {
  DecodedPicture out{.picture = {width, height, {}}};
  const size_t pixels = rgba.size() / 4;
  out.picture.rgb.reserve(pixels * 3);
  out.alpha.reserve(pixels);
  for (size_t i = 0; i < pixels; ++i) {
    out.picture.rgb.insert(out.picture.rgb.end(), &rgba[4 * i], &rgba[4 * i] + 3);
    out.alpha.push_back(rgba[4 * i + 3]);
  }
  return out;
}

void throw_damaged(const std::string& name, std::string_view reason) {
  throw LoadError(name, fmt::format("the picture is damaged or cut short ({})", reason),
                  "fetch or make it anew");
}

}  // namespace backlot
