// Sinks of frames that need no FFmpeg.
#pragma once

#include <filesystem>
#include <memory>

#include "media/metadata.h"
#include "media/video_library.h"

namespace backlot {

// 00000.png, 00001.png, … in the folder `path`, each with the metadata. Errors speak of `shown`.
std::unique_ptr<FrameSink> open_png_sink(const std::filesystem::path& path,
                                         const std::filesystem::path& shown,
                                         const PictureMetadata& metadata);

// Writes the folder's PNGs again as small as PNG allows.
void shrink_png_sequence(const std::filesystem::path& path, const std::filesystem::path& shown,
                         const PictureMetadata& metadata);

// An animated WebP that plays again and again; lossless at quality 100.
std::unique_ptr<FrameSink> open_webp_sink(const std::filesystem::path& path,
                                          const std::filesystem::path& shown, int64_t width,
                                          int64_t height, FrameRate rate, int quality,
                                          const PictureMetadata& metadata);

}  // namespace backlot
