// What still and moving WebPs are written with alike.
#pragma once

#include <webp/encode.h>

#include <string>
#include <string_view>

namespace backlot {

// A WebPPicture, freed at the end of a scope.
struct WebpSource {
  WebPPicture picture;
  WebpSource();
  ~WebpSource() { WebPPictureFree(&picture); }
  WebpSource(const WebpSource&) = delete;
  WebpSource& operator=(const WebpSource&) = delete;
};

// Lossless at quality 100.
WebPConfig webp_config(int quality);

// The file with these chunks added; empty ones are left out.
std::string with_webp_chunks(std::string file, std::string_view exif, std::string_view xmp);

}  // namespace backlot
