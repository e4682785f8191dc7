// Pictures to and from the bytes of a PNG, JPEG or WebP file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "media/metadata.h"

namespace backlot {

enum class PictureKind { png, jpeg, webp };

// "png", "jpeg" (or "jpg"), "webp", as a spec's output.format names them; nothing for other names.
std::optional<PictureKind> picture_kind(std::string_view name);

// "png", "jpg" or "webp"
std::string_view file_extension(PictureKind kind);

struct PictureFormat {
  PictureKind kind = PictureKind::png;
  int quality = 90;                   // 1 to 100; jpeg: 4:4:4 from 90 on; webp: lossless at 100
  std::optional<uint64_t> max_bytes;  // of the whole file, metadata included
};

// The whole file; equal arguments give equal bytes. Empty metadata leaves none in the file, not
// even the program's name. With `max_bytes`, jpeg and webp take the highest quality up to
// `format.quality` that fits, png its best compression. Throws ItemError if that does not suffice,
// if the format can't hold the picture's size, or if the metadata is larger than backlot reads
// back.
std::string encode_picture(const Picture& picture, const PictureFormat& format,
                           const PictureMetadata& metadata);

struct DecodedPicture {
  // 8 bits a channel, upright (the EXIF orientation is applied). Grey and palette pictures become
  // RGB, 16 bits are rounded to 8. Colours are as stored, as if the alpha were opaque; colour
  // profiles are not applied.
  Picture picture;
  // One byte a pixel, 255 opaque; empty if the file has no alpha.
  std::vector<uint8_t> alpha;
};

constexpr int64_t max_picture_side = 16384;                // pixels
constexpr int64_t max_picture_pixels = int64_t{64} << 20;  // width * height: 8192x8192 fits

// Reads a PNG, JPEG or WebP file, known by its content. The limits above and those of
// media/metadata.h are checked before pixels are decoded. Throws LoadError, naming the file: not a
// picture, damaged or cut short, too large, animated, CMYK.
DecodedPicture decode_picture(const std::filesystem::path& path);

// The same from memory; `name` is what errors call it.
DecodedPicture decode_picture(std::string_view bytes, const std::string& name);

}  // namespace backlot
