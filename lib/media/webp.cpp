#include <webp/decode.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include <fmt/format.h>

#include <memory>
#include <new>

#include "base/error.h"
#include "media/codecs.h"
#include "media/webp_parts.h"

namespace backlot {
namespace {

struct Sink {
  WebPMemoryWriter writer;
  Sink() { WebPMemoryWriterInit(&writer); }
  ~Sink() { WebPMemoryWriterClear(&writer); }
};

struct DeleteMux {
  void operator()(WebPMux* mux) const { WebPMuxDelete(mux); }
};

[[noreturn]] void throw_unwritten(std::string_view reason) {
  throw ItemError("", fmt::format("cannot write a WebP: {}", reason), "use png");
}

void set_chunk(WebPMux* mux, const char* fourcc, std::string_view bytes) {
  if (bytes.empty()) return;
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  if (WebPMuxSetChunk(mux, fourcc, &data, 0) != WEBP_MUX_OK) throw_unwritten("metadata refused");
}

}  // namespace

WebpSource::WebpSource() {
  if (!WebPPictureInit(&picture)) throw std::bad_alloc();
}

WebPConfig webp_config(int quality) {
  WebPConfig config;
  if (!WebPConfigInit(&config)) throw std::bad_alloc();
  if (quality >= 100) {
    // The preset's usual trade of time for size; quality means effort here.
    if (!WebPConfigLosslessPreset(&config, 6)) throw_unwritten("the lossless preset is missing");
  } else {
    config.quality = static_cast<float>(quality);
  }
  return config;
}

std::string with_webp_chunks(std::string file, std::string_view exif, std::string_view xmp) {
  if (exif.empty() && xmp.empty()) return file;
  const WebPData bytes{reinterpret_cast<const uint8_t*>(file.data()), file.size()};
  const std::unique_ptr<WebPMux, DeleteMux> mux(WebPMuxCreate(&bytes, 0));
  if (!mux) throw std::bad_alloc();
  set_chunk(mux.get(), "EXIF", exif);
  set_chunk(mux.get(), "XMP ", xmp);
  WebPData whole{};
  if (WebPMuxAssemble(mux.get(), &whole) != WEBP_MUX_OK) throw_unwritten("the parts do not fit");
  std::string out(reinterpret_cast<const char*>(whole.bytes), whole.size);
  WebPDataClear(&whole);
  return out;
}

std::string encode_webp(const Picture& picture, int quality, std::string_view exif,
                        std::string_view xmp) {
  if (picture.width > WEBP_MAX_DIMENSION || picture.height > WEBP_MAX_DIMENSION)
    throw_unwritten(fmt::format("it holds at most {} pixels a side", WEBP_MAX_DIMENSION));
  const WebPConfig config = webp_config(quality);
  WebpSource source;
  source.picture.width = static_cast<int>(picture.width);
  source.picture.height = static_cast<int>(picture.height);
  source.picture.use_argb = config.lossless;
  if (!WebPPictureImportRGB(&source.picture, picture.rgb.data(), source.picture.width * 3))
    throw std::bad_alloc();
  Sink pixels;
  source.picture.writer = WebPMemoryWrite;
  source.picture.custom_ptr = &pixels.writer;
  if (!WebPEncode(&config, &source.picture))
    throw_unwritten(fmt::format("libwebp's error {}", static_cast<int>(source.picture.error_code)));
  return with_webp_chunks(
      std::string(reinterpret_cast<const char*>(pixels.writer.mem), pixels.writer.size), exif, xmp);
}

DecodedPicture decode_webp(std::string_view bytes, const std::string& name) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  WebPBitstreamFeatures facts;
  if (WebPGetFeatures(data, bytes.size(), &facts) != VP8_STATUS_OK)
    throw_damaged(name, "its header makes no sense");
  if (facts.has_animation)
    throw LoadError(name, "an animated picture", "give a single frame of it");
  check_picture_size(facts.width, facts.height, name);
  const size_t channels = facts.has_alpha ? 4 : 3;
  const size_t stride = static_cast<size_t>(facts.width) * channels;
  std::vector<uint8_t> pixels(stride * static_cast<size_t>(facts.height));
  const auto decode = facts.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (!decode(data, bytes.size(), pixels.data(), pixels.size(), static_cast<int>(stride)))
    throw_damaged(name, "its pixels can't be decoded");
  if (facts.has_alpha) return split_alpha(facts.width, facts.height, pixels);
  return {.picture = {facts.width, facts.height, std::move(pixels)}};
}

}  // namespace backlot
