#include "media/embed.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <new>

#include "base/error.h"
#include "base/text.h"
#include "media/embedded.h"
#include "media/exif.h"
#include "media/unicode.h"
#include "media/xmp.h"

namespace backlot {
namespace {

constexpr size_t max_jpeg_segment = 65533;  // bytes, without marker and length

// Hands `text` on if it can be read back: the reader's limit counts keywords and prefixes too.
std::string checked(std::string text) {
  constexpr uint64_t room = 256;
  if (text.size() > max_text_bytes - room)
    throw ItemError("metadata",
                    fmt::format("{} of text, while a picture carries at most {}",
                                human_bytes(text.size()), human_bytes(max_text_bytes)),
                    "shorten the prompt or use --no-metadata");
  return text;
}

std::string record_text(const PictureMetadata& metadata) {
  if (metadata.backlot.is_null()) return "";
  return without_folders(metadata.backlot).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string prompt_of(const PictureMetadata& metadata) {
  return metadata.backlot.is_object() && metadata.backlot.contains("parameters")
             ? prompt_among(metadata.backlot["parameters"])
             : "";
}

ExifFields exif_fields(const PictureMetadata& metadata) {
  return {.description = prompt_of(metadata),
          .software = metadata.creator,
          .user_comment = metadata.parameters};
}

// Leaves out what makes the block too large for a segment, the repeated prompt first.
std::string exif_segment(ExifFields fields) {
  const auto encode = [&] { return std::string(jpeg_exif_prefix) + encode_exif(fields); };
  std::string out = encode();
  for (std::string* field : {&fields.description, &fields.user_comment}) {
    if (out.size() <= max_jpeg_segment) break;
    field->clear();
    out = encode();
  }
  return out;
}

// Extended packets are named by their MD5, which has nothing to protect.
std::string md5_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  size_t size = 0;
  if (!EVP_Q_digest(nullptr, "MD5", nullptr, bytes.data(), bytes.size(), digest, &size))
    throw ItemError("metadata", "OpenSSL has no MD5, which long JPEG metadata needs",
                    "use png, or --no-metadata");
  std::string out;
  for (size_t i = 0; i < size; ++i) out += fmt::format("{:02X}", digest[i]);
  return out;
}

std::vector<std::string> extended_xmp_segments(std::string_view packet, std::string_view guid) {
  const auto number = [](size_t value) {
    std::string out;
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
    return out;
  };
  constexpr size_t room = max_jpeg_segment - jpeg_extended_xmp_prefix.size() - extended_xmp_header;
  std::vector<std::string> out;
  for (size_t at = 0; at < packet.size(); at += room)
    out.push_back(std::string(jpeg_extended_xmp_prefix) + std::string(guid) +
                  number(packet.size()) + number(at) + std::string(packet.substr(at, room)));
  return out;
}

}  // namespace

std::string prompt_among(const Json& parameters) {
  const auto text = [](const Json& of) {
    const Json prompt = of.is_object() ? of.value("prompt", Json()) : Json();
    return prompt.is_string() ? prompt.get<std::string>() : "";
  };
  const Json scenes = parameters.is_object() ? parameters.value("scenes", Json()) : Json();
  if (!scenes.is_array()) return text(parameters);
  std::string all;
  for (const auto& scene : scenes) all += (all.empty() ? "" : " / ") + text(scene);
  return all;
}

std::vector<std::pair<std::string, std::string>> png_text(const PictureMetadata& metadata) {
  std::vector<std::pair<std::string, std::string>> out;
  const auto add = [&](const char* keyword, std::string text) {
    if (!text.empty()) out.emplace_back(keyword, checked(std::move(text)));
  };
  add("parameters", metadata.parameters);
  add("backlot", record_text(metadata));
  add("XML:com.adobe.xmp", xmp_packet(metadata.creator, ""));
  return out;
}

std::vector<std::string> jpeg_segments(const PictureMetadata& metadata) {
  std::vector<std::string> out = {exif_segment(exif_fields(metadata))};
  const std::string record = record_text(metadata);
  std::string xmp = std::string(jpeg_xmp_prefix) + xmp_packet(metadata.creator, record);
  std::vector<std::string> extended;
  if (xmp.size() > max_jpeg_segment) {
    const std::string packet = checked(xmp_record_packet(record));
    const std::string guid = md5_hex(packet);
    xmp = std::string(jpeg_xmp_prefix) + xmp_packet(metadata.creator, "", guid);
    extended = extended_xmp_segments(packet, guid);
  }
  out.push_back(std::move(xmp));
  std::move(extended.begin(), extended.end(), std::back_inserter(out));
  return out;
}

WebpChunks webp_chunks(const PictureMetadata& metadata) {
  return {.exif = checked(encode_exif(exif_fields(metadata))),
          .xmp = checked(xmp_packet(metadata.creator, record_text(metadata)))};
}

std::vector<std::pair<std::string, std::string>> video_tags(const PictureMetadata& metadata) {
  constexpr size_t longest_title = 250;  // characters
  std::vector<std::pair<std::string, std::string>> out;
  const auto add = [&](const char* key, std::string text) {
    // FFmpeg takes text up to the first NUL.
    std::replace(text.begin(), text.end(), '\0', ' ');
    if (!text.empty()) out.emplace_back(key, checked(std::move(text)));
  };
  std::u32string title = decode_utf8(prompt_of(metadata));
  if (title.size() > longest_title) title = title.substr(0, longest_title - 1) + U'\u2026';
  add("title", encode_utf8(title));
  add("comment", metadata.parameters);
  add("description", record_text(metadata));
  return out;
}

std::string video_xmp(const PictureMetadata& metadata, RecordInXmp record) {
  return checked(
      xmp_packet(metadata.creator, record == RecordInXmp::yes ? record_text(metadata) : ""));
}

}  // namespace backlot
