// What lies beside the frames in video files.
#pragma once

#include <filesystem>
#include <string_view>

#include "media/embedded.h"
#include "media/metadata.h"
#include "media/video_writer.h"

namespace backlot {

// Adds XMP with the IPTC mark, and in a GIF with the record, to a whole mp4, mov or gif; files of
// other formats stay as they are. Throws EnvironmentError about `shown`.
void add_xmp(const std::filesystem::path& file, const std::filesystem::path& shown,
             VideoFormat format, const PictureMetadata& metadata);

// The name of the first picture of a png-sequence.
constexpr auto first_frame_name = "00000.png";

// True if `bytes` begin like a file that read_embedded_video reads.
bool looks_like_video(std::string_view bytes);

// As read_embedded, with the tags `description` and `comment` as the texts `backlot` and
// `parameters`. Throws LoadError; EnvironmentError: no FFmpeg (GIFs need none).
Embedded read_embedded_video(const std::filesystem::path& path);

}  // namespace backlot
