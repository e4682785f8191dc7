#include "media/video_metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "media/codecs.h"
#include "media/embed.h"
#include "media/video_reader.h"
#include "media/xmp.h"

namespace backlot {
namespace {

using namespace std::string_view_literals;

// XMP specification part 3, 1.1.2.1: an application extension whose data are no sub-blocks. Readers
// that take them for such land, from wherever, in the trailer, which leads them to the end.
constexpr auto gif_xmp_header = "\x21\xFF\x0BXMP DataXMP"sv;

std::string gif_xmp_trailer() {
  std::string out = "\x01";
  for (int byte = 0xFF; byte >= 0; --byte) out += static_cast<char>(byte);
  out += '\0';
  return out;
}

// Part 3, 1.2.7.1: a box of its own, last in the file.
std::string xmp_box(std::string_view packet) {
  constexpr auto uuid = "\xBE\x7A\xCF\xCB\x97\xA9\x42\xE8\x9C\x71\x99\x94\x91\xE3\xAF\xAC"sv;
  const size_t size = 8 + uuid.size() + packet.size();
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(size >> shift);
  out += "uuid";
  out += uuid;
  out += packet;
  return out;
}

// The place behind the sub-blocks that start at `at`.
size_t behind_sub_blocks(std::string_view bytes, size_t at, const std::string& name) {
  while (true) {
    if (at >= bytes.size()) throw_damaged(name, "its parts do not fit");
    const auto size = static_cast<uint8_t>(bytes[at]);
    at += 1 + size_t{size};
    if (size == 0) return at;
  }
}

size_t colours_size(uint8_t flags) { return flags & 0x80 ? size_t{3} << ((flags & 7) + 1) : 0; }

Embedded read_gif(std::string_view bytes, const std::string& name) {
  const auto byte = [&](size_t at) {
    if (at >= bytes.size()) throw_damaged(name, "its parts do not fit");
    return static_cast<uint8_t>(bytes[at]);
  };
  Embedded out;
  size_t at = 13 + colours_size(byte(10));
  while (true) {
    const uint8_t kind = byte(at);
    if (kind == 0x3B) return out;
    if (kind == 0x21) {
      const auto rest = bytes.substr(at);
      if (rest.starts_with(gif_xmp_header) && out.xmp.empty()) {
        const size_t from = gif_xmp_header.size();
        const size_t end = rest.find("\x01\xFF\xFE"sv, from);
        if (end == rest.npos || end - from > max_text_bytes)
          throw_damaged(name, "its parts do not fit");
        out.xmp.emplace_back(rest.substr(from, end - from));
      }
      at = behind_sub_blocks(bytes, at + 2, name);
    } else if (kind == 0x2C) {
      at = behind_sub_blocks(bytes, at + 11 + colours_size(byte(at + 9)), name);
    } else {
      throw_damaged(name, "its parts do not fit");
    }
  }
}

void append(const fs::path& file, std::string_view bytes, const fs::path& shown,
            int64_t before_end) {
  errno = 0;
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  stream.seekp(-before_end, std::ios::end);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) throw_errno(shown, "write", errno ? errno : EIO);
}

}  // namespace

void add_xmp(const fs::path& file, const fs::path& shown, VideoFormat format,
             const PictureMetadata& metadata) {
  if (metadata.empty()) return;
  if (format == VideoFormat::mp4 || format == VideoFormat::mov)
    append(file, xmp_box(video_xmp(metadata, RecordInXmp::no)), shown, 0);
  if (format == VideoFormat::gif)
    append(file,
           std::string(gif_xmp_header) + video_xmp(metadata, RecordInXmp::yes) + gif_xmp_trailer() +
               "\x3B",
           shown, 1);
}

bool looks_like_video(std::string_view bytes) {
  return bytes.starts_with("GIF8"sv) || bytes.starts_with("\x1A\x45\xDF\xA3"sv) ||
         bytes.substr(0, 8).ends_with("ftyp"sv) ||
         (bytes.starts_with("RIFF"sv) && bytes.substr(0, 12).ends_with("AVI "sv));
}

Embedded read_embedded_video(const fs::path& path) {
  const std::string name = path.string();
  const MappedFile file(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  if (bytes.starts_with("GIF8"sv)) return read_gif(bytes, name);
  const VideoReader reader(path);
  Embedded out;
  for (const auto& [key, text] : reader.facts().tags) {
    if (text.size() > max_text_bytes)
      throw LoadError(name, fmt::format("a tag is larger than {}", human_bytes(max_text_bytes)),
                      "strip it with another tool");
    std::string small = key;  // Matroska writes its keys in capitals
    std::transform(small.begin(), small.end(), small.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (small == "description" && text.starts_with('{')) out.text.emplace_back("backlot", text);
    // Comments are anything; those of this form have settings in them.
    if (small == "comment" && text.find("Steps: ") != text.npos)
      out.text.emplace_back("parameters", text);
  }
  return out;
}

}  // namespace backlot
