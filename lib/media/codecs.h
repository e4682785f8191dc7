// One encoder and one decoder a format, each around its C library. Decoders trust neither sizes nor
// data, check the limits of media/picture_io.h first, and throw LoadError that calls the file
// `name`.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "media/picture_io.h"

namespace backlot {

// How hard zlib tries: see png.cpp for what each costs.
enum class PngEffort { fast, best };

// `text`: keywords with UTF-8 text, in the order in which they are written.
std::string encode_png(const Picture& picture, PngEffort effort,
                       std::span<const std::pair<std::string, std::string>> text);

// `app1`: payloads of APP1 segments, each at most 65533 bytes.
std::string encode_jpeg(const Picture& picture, int quality, std::span<const std::string> app1);

// `exif` without "Exif\0\0"; empty for none, like `xmp`.
std::string encode_webp(const Picture& picture, int quality, std::string_view exif,
                        std::string_view xmp);

DecodedPicture decode_png(std::string_view bytes, const std::string& name);
DecodedPicture decode_jpeg(std::string_view bytes, const std::string& name);
DecodedPicture decode_webp(std::string_view bytes, const std::string& name);

// Throws LoadError if a picture of this size is not to be decoded.
void check_picture_size(uint64_t width, uint64_t height, const std::string& name);

// RGBA pixels as a picture and its alpha.
DecodedPicture split_alpha(int64_t width, int64_t height, std::span<const uint8_t> rgba);

[[noreturn]] void throw_damaged(const std::string& name, std::string_view reason);

}  // namespace backlot
