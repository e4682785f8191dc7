#include "media/preview.h"

#include <openssl/evp.h>

#include <algorithm>
#include <vector>

#include "media/frame_sinks.h"
#include "media/picture_io.h"

namespace backlot {
namespace {

std::string base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(length));
  return text;
}

// The mean of one channel over pixels [x0, x1) x [y0, y1).
uint8_t mean(const Picture& picture, int64_t x0, int64_t x1, int64_t y0, int64_t y1, int channel) {
  int64_t sum = 0;
  for (int64_t y = y0; y < y1; ++y)
    for (int64_t x = x0; x < x1; ++x)
      sum += picture.rgb[static_cast<size_t>((y * picture.width + x) * 3 + channel)];
  const int64_t count = (x1 - x0) * (y1 - y0);
  return static_cast<uint8_t>((sum + count / 2) / count);
}

}  // namespace

Picture shrink(const Picture& picture, int64_t longest) {
  const int64_t side = std::max(picture.width, picture.height);
  if (side <= longest) return picture;
  Picture small{.width = std::max<int64_t>(1, picture.width * longest / side),
                .height = std::max<int64_t>(1, picture.height * longest / side),
                .rgb = {}};
  small.rgb.reserve(static_cast<size_t>(small.width * small.height * 3));
  for (int64_t y = 0; y < small.height; ++y)
    for (int64_t x = 0; x < small.width; ++x)
      for (int channel = 0; channel < 3; ++channel)
        small.rgb.push_back(mean(
            picture, x * picture.width / small.width, (x + 1) * picture.width / small.width,
            y * picture.height / small.height, (y + 1) * picture.height / small.height, channel));
  return small;
}

std::string preview_uri(const Picture& picture) {
  return "data:image/png;base64," +
         base64(encode_picture(shrink(picture, preview_side), {.kind = PictureKind::png}, {}));
}

std::string animated_preview_uri(std::span<const Picture> frames, double frames_per_second) {
  constexpr int quality = 60;
  std::vector<Picture> small;
  for (const auto& frame : frames) small.push_back(shrink(frame, preview_side));
  return "data:image/webp;base64," +
         base64(encode_webp_animation(small, frame_rate(frames_per_second), quality));
}

}  // namespace backlot
