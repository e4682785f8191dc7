// The metadata that lies beside the pixels in a PNG, JPEG or WebP file, found without decoding
// them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "media/picture_io.h"

namespace backlot {

struct Embedded {
  std::vector<std::pair<std::string, std::string>> text;  // PNG: keyword and UTF-8 text
  std::string exif;              // a TIFF block, with or without "Exif\0\0" before it
  std::vector<std::string> xmp;  // packets
};

// What the first bytes say; throws LoadError, calling the file `name`, if they say neither.
PictureKind sniff_picture(std::string_view bytes, const std::string& name);

// Throws LoadError if the file is damaged or cut short, or if a text exceeds max_text_bytes or all
// of them max_text_bytes_in_all.
Embedded read_embedded(std::string_view bytes, const std::string& name);

// What the payloads of JPEG's APP1 segments begin with. Extended XMP goes on with 32 hexadecimal
// digits that name the packet, its full length and the piece's offset, four bytes each.
constexpr std::string_view jpeg_exif_prefix{"Exif\0\0", 6};
constexpr std::string_view jpeg_xmp_prefix{"http://ns.adobe.com/xap/1.0/\0", 29};
constexpr std::string_view jpeg_extended_xmp_prefix{"http://ns.adobe.com/xmp/extension/\0", 35};
constexpr size_t extended_xmp_header = 32 + 4 + 4;

}  // namespace backlot
