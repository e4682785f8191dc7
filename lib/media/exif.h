// The few EXIF fields that backlot writes and reads (Exif 2.32, TIFF 6.0).
#pragma once

#include <string>
#include <string_view>

namespace backlot {

struct ExifFields {
  std::string description;   // ImageDescription, UTF-8, written only
  std::string software;      // Software, written only
  std::string user_comment;  // UserComment, UTF-8 here, UTF-16 in the file
  int orientation = 1;       // 1 to 8, read only
};

// A TIFF block without the "Exif\0\0" that JPEG puts before it. Big-endian with big-endian UTF-16,
// the form in which the AUTOMATIC1111 web UI writes and reads UserComment on all machines.
std::string encode_exif(const ExifFields& fields);

// Reads a block with or without "Exif\0\0". Whatever is missing or damaged stays at its default.
ExifFields decode_exif(std::string_view block);

}  // namespace backlot
