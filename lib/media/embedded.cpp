#include "media/embedded.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "base/text.h"
#include "media/codecs.h"
#include "media/unicode.h"

namespace backlot {
namespace {

using namespace std::string_view_literals;

constexpr auto png_signature = "\x89PNG\r\n\x1A\n"sv;

uint32_t big_endian(std::string_view bytes, size_t at, int count) {
  uint32_t out = 0;
  for (int i = 0; i < count; ++i) out = out << 8 | static_cast<uint8_t>(bytes[at + i]);
  return out;
}

uint32_t little_endian32(std::string_view bytes, size_t at) {
  uint32_t out = 0;
  for (int i = 3; i >= 0; --i) out = out << 8 | static_cast<uint8_t>(bytes[at + i]);
  return out;
}

// Counts text against the limits.
class Allowance {
 public:
  explicit Allowance(const std::string& name) : name_(name) {}

  void spend(uint64_t bytes) {
    if (bytes > max_text_bytes || (used_ += bytes) > max_text_bytes_in_all)
      throw LoadError(
          name_,
          fmt::format("the picture's metadata is larger than {}",
                      human_bytes(bytes > max_text_bytes ? max_text_bytes : max_text_bytes_in_all)),
          "strip it with another tool");
  }

 private:
  const std::string& name_;
  uint64_t used_ = 0;
};

// The zlib stream inside a text chunk; nothing if it is damaged. Stops past max_text_bytes, so that
// Allowance refuses what a small chunk would swell to.
std::optional<std::string> inflate_text(std::string_view compressed) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return std::nullopt;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  std::string out;
  int status = Z_OK;
  while (status == Z_OK && out.size() <= max_text_bytes) {
    char buffer[1 << 14];
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof buffer;
    status = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer, sizeof buffer - stream.avail_out);
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END && out.size() <= max_text_bytes) return std::nullopt;
  return out;
}

// Takes the bytes up to the next NUL off the front of `data`; nothing if there is none.
std::optional<std::string_view> take_string(std::string_view& data) {
  const size_t end = data.find('\0');
  if (end == data.npos) return std::nullopt;
  const auto out = data.substr(0, end);
  data.remove_prefix(end + 1);
  return out;
}

// A tEXt, zTXt or iTXt chunk's text as UTF-8, `data` being what follows the keyword.
std::optional<std::string> png_text(std::string_view type, std::string_view data) {
  if (type == "tEXt") return from_latin1(data);
  if (type == "zTXt") {
    if (data.empty() || data[0] != 0) return std::nullopt;
    const auto text = inflate_text(data.substr(1));
    return text ? std::optional(from_latin1(*text)) : std::nullopt;
  }
  if (data.size() < 2) return std::nullopt;
  const bool compressed = data[0] != 0;
  data.remove_prefix(2);
  if (!take_string(data) || !take_string(data)) return std::nullopt;  // language, its keyword
  return compressed ? inflate_text(data) : std::string(data);
}

Embedded read_png(std::string_view bytes, const std::string& name) {
  Embedded out;
  Allowance allowance(name);
  size_t at = png_signature.size();
  while (true) {
    if (bytes.size() - at < 12) throw_damaged(name, "its parts do not fit");
    const uint64_t size = big_endian(bytes, at, 4);
    if (bytes.size() - at - 12 < size) throw_damaged(name, "its parts do not fit");
    const auto type = bytes.substr(at + 4, 4);
    auto data = bytes.substr(at + 8, size);
    if (type == "IEND") return out;
    const bool text = type == "tEXt" || type == "zTXt" || type == "iTXt";
    if (text || type == "eXIf") {
      allowance.spend(size);
      const auto sum = crc32(0, reinterpret_cast<const Bytef*>(bytes.data() + at + 4), size + 4);
      if (sum != big_endian(bytes, at + 8 + size, 4)) throw_damaged(name, "its parts do not fit");
    }
    if (type == "eXIf") out.exif = data;
    if (text) {
      const auto keyword = take_string(data);
      auto value = keyword ? png_text(type, data) : std::nullopt;
      if (!value) throw_damaged(name, "its parts do not fit");
      if (type != "tEXt") allowance.spend(value->size());
      if (*keyword == "XML:com.adobe.xmp")
        out.xmp.push_back(std::move(*value));
      else
        out.text.emplace_back(from_latin1(*keyword), std::move(*value));
    }
    at += 12 + size;
  }
}

// Collects the pieces of an extended packet, which may come in any order.
class ExtendedXmp {
 public:
  void add(std::string_view data, Allowance& allowance) {
    if (data.size() < extended_xmp_header) return;
    const auto guid = data.substr(0, 32);
    const uint64_t total = big_endian(data, 32, 4), offset = big_endian(data, 36, 4);
    const auto piece = data.substr(extended_xmp_header);
    if (guid_.empty()) {
      allowance.spend(total);
      guid_ = guid;
      packet_.resize(total);
    }
    if (guid != guid_ || offset > packet_.size() || packet_.size() - offset < piece.size()) return;
    std::copy(piece.begin(), piece.end(), packet_.begin() + static_cast<ptrdiff_t>(offset));
    filled_ += piece.size();
  }

  bool complete() const { return !packet_.empty() && filled_ == packet_.size(); }
  const std::string& packet() const { return packet_; }

 private:
  std::string guid_, packet_;
  uint64_t filled_ = 0;
};

Embedded read_jpeg(std::string_view bytes, const std::string& name) {
  Embedded out;
  Allowance allowance(name);
  ExtendedXmp extended;
  size_t at = 2;
  while (true) {
    if (bytes.size() - at < 4) throw_damaged(name, "its parts do not fit");
    if (bytes[at] != '\xFF') throw_damaged(name, "its parts do not fit");
    const auto marker = static_cast<uint8_t>(bytes[at + 1]);
    if (marker == 0xFF) {  // fill bytes may precede a marker
      ++at;
      continue;
    }
    constexpr uint8_t start_of_scan = 0xDA, end_of_image = 0xD9, app1 = 0xE1;
    if (marker == start_of_scan || marker == end_of_image) break;
    const size_t size = big_endian(bytes, at + 2, 2);
    if (size < 2 || bytes.size() - at - 2 < size) throw_damaged(name, "its parts do not fit");
    auto data = bytes.substr(at + 4, size - 2);
    at += 2 + size;
    if (marker != app1) continue;
    if (data.starts_with(jpeg_exif_prefix) && out.exif.empty()) {
      allowance.spend(data.size());
      out.exif = data;
    } else if (data.starts_with(jpeg_xmp_prefix)) {
      allowance.spend(data.size());
      out.xmp.emplace_back(data.substr(jpeg_xmp_prefix.size()));
    } else if (data.starts_with(jpeg_extended_xmp_prefix)) {
      extended.add(data.substr(jpeg_extended_xmp_prefix.size()), allowance);
    }
  }
  if (extended.complete()) out.xmp.push_back(extended.packet());
  return out;
}

Embedded read_webp(std::string_view bytes, const std::string& name) {
  Embedded out;
  Allowance allowance(name);
  const uint64_t riff = uint64_t{little_endian32(bytes, 4)} + 8;
  if (riff > bytes.size()) throw_damaged(name, "its parts do not fit");
  size_t at = 12;
  while (riff > at && riff - at >= 8) {
    const uint64_t size = little_endian32(bytes, at + 4);
    if (riff - at - 8 < size) throw_damaged(name, "its parts do not fit");
    const auto type = bytes.substr(at, 4);
    const auto data = bytes.substr(at + 8, size);
    if (type == "EXIF" || type == "XMP ") {
      allowance.spend(size);
      if (type == "EXIF")
        out.exif = data;
      else
        out.xmp.emplace_back(data);
    }
    at += 8 + size + size % 2;
  }
  return out;
}

}  // namespace

PictureKind sniff_picture(std::string_view bytes, const std::string& name) {
  if (bytes.starts_with(png_signature)) return PictureKind::png;
  if (bytes.starts_with("\xFF\xD8\xFF"sv)) return PictureKind::jpeg;
  if (bytes.size() >= 12 && bytes.starts_with("RIFF"sv) && bytes.substr(8, 4) == "WEBP")
    return PictureKind::webp;
  throw LoadError(name, bytes.empty() ? "the file is empty" : "not a PNG, JPEG or WebP picture",
                  "give a picture in one of these formats");
}

Embedded read_embedded(std::string_view bytes, const std::string& name) {
  switch (sniff_picture(bytes, name)) {
    case PictureKind::png:
      return read_png(bytes, name);
    case PictureKind::jpeg:
      return read_jpeg(bytes, name);
    case PictureKind::webp:
      return read_webp(bytes, name);
  }
  throw_damaged(name, "its parts do not fit");
}

}  // namespace backlot
