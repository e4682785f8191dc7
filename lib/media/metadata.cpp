#include "media/metadata.h"

#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "media/embedded.h"
#include "media/exif.h"
#include "media/video_metadata.h"
#include "media/xmp.h"

namespace backlot {
namespace {

constexpr int max_json_depth = 64;

std::string last_part(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return std::string(path.substr(path.rfind('/') + 1));
}

bool is_prompt(std::string_view key) {
  return key == "prompt" || key == "prompt_2" || key == "negative_prompt" ||
         key == "negative_prompt_2";
}

Json without_folders(const Json& value, std::string_view key) {
  Json out = value;
  if (value.is_string() && !is_prompt(key)) {
    const auto& text = value.get_ref<const std::string&>();
    if (key.ends_with("path") || text.starts_with('/')) out = last_part(text);
  } else if (value.is_array()) {
    for (auto& entry : out) entry = without_folders(entry, key);
  } else if (value.is_object()) {
    for (auto& [name, entry] : out.items()) entry = without_folders(entry, name);
  }
  return out;
}

// A `backlot` record, or nothing if `text` is not one.
std::optional<Json> parse_record(std::string_view text) {
  bool too_deep = false;
  const auto limit = [&](int depth, Json::parse_event_t, Json&) {
    too_deep |= depth > max_json_depth;
    return !too_deep;
  };
  Json record = Json::parse(text, limit, false);
  if (too_deep || !record.is_object()) return std::nullopt;
  const auto parameters = record.find("parameters");
  if (parameters == record.end() || !parameters->is_object()) return std::nullopt;
  return record;
}

std::optional<std::string> find_record(const Embedded& embedded) {
  for (const auto& [keyword, text] : embedded.text)
    if (keyword == "backlot") return text;
  for (const auto& packet : embedded.xmp)
    if (auto record = xmp_record(packet)) return record;
  return std::nullopt;
}

std::string find_a1111_text(const Embedded& embedded) {
  for (const auto& [keyword, text] : embedded.text)
    if (keyword == "parameters") return text;
  return decode_exif(embedded.exif).user_comment;
}

Json parse_embedded(const Embedded& embedded, const std::string& name) {
  if (const auto record = find_record(embedded)) {
    if (auto json = parse_record(*record)) return *json;
    throw LoadError(name, "its backlot metadata is damaged",
                    "give its prompt and settings on the command line");
  }
  const std::string text = find_a1111_text(embedded);
  if (!text.empty()) return parse_a1111_parameters(text);
  throw LoadError(name, "it carries no backlot metadata",
                  "give one that backlot wrote without --no-metadata, or its settings as options");
}

}  // namespace

Json without_folders(const Json& value) { return without_folders(value, ""); }

PictureMetadata describe_picture(const Json& item) {
  PictureMetadata out;
  out.creator = "backlot " BACKLOT_VERSION;
  out.parameters = a1111_parameters(item);
  out.backlot = {{"version", 1}, {"creator", out.creator}};
  for (const auto key : {"id", "parameters", "model", "dtype", "quantization"})
    if (item.contains(key)) out.backlot[key] = without_folders(item[key], key);
  return out;
}

Json read_backlot_metadata(const std::filesystem::path& path) {
  std::error_code ignored;
  // A sequence's frames all carry the same.
  if (fs::is_directory(path, ignored)) return read_backlot_metadata(path / first_frame_name);
  const MappedFile file(path);
  const auto bytes = file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (looks_like_video(text)) return parse_embedded(read_embedded_video(path), path.string());
  return read_backlot_metadata(text, path.string());
}

Json read_backlot_metadata(std::string_view bytes, const std::string& name) {
  return parse_embedded(read_embedded(bytes, name), name);
}

}  // namespace backlot
