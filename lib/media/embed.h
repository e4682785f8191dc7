// PictureMetadata in the forms in which the containers hold it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "media/metadata.h"

namespace backlot {

// The prompt among an item's parameters; of scenes all of theirs, between slashes; "" if there is
// none.
std::string prompt_among(const Json& parameters);

// All of these throw ItemError for text that read_embedded would refuse to read back.

// Keywords and UTF-8 text of PNG's text chunks.
std::vector<std::pair<std::string, std::string>> png_text(const PictureMetadata& metadata);

// Payloads of JPEG's APP1 segments. A segment holds 64 KiB: JSON beyond that goes into extended XMP
// (XMP specification part 3, 1.1.3.1); EXIF, which has no such way out, then lacks the prompt.
std::vector<std::string> jpeg_segments(const PictureMetadata& metadata);

struct WebpChunks {
  std::string exif, xmp;
};
WebpChunks webp_chunks(const PictureMetadata& metadata);

// Tags that every video container takes: `title` (the prompt, if need be its beginning), `comment`
// (the A1111 text) and `description` (the JSON record).
std::vector<std::pair<std::string, std::string>> video_tags(const PictureMetadata& metadata);

enum class RecordInXmp { no, yes };
std::string video_xmp(const PictureMetadata& metadata, RecordInXmp record);

}  // namespace backlot
