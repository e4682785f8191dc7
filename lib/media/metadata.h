// What pictures say about how they were made.
//
// PNG: text chunks `parameters` (the text of the AUTOMATIC1111 web UI) and `backlot` (JSON), and
// XMP. JPEG and WebP: EXIF (UserComment holds the `parameters` text) and XMP, whose backlot:record
// holds the JSON. MP4, MOV, MKV and WebM: tags `comment` (the text) and `description` (JSON); GIF:
// XMP with the JSON. The XMP of all but MKV and WebM, which have no place for it, carries the IPTC
// mark for pictures made by a trained model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/json.h"

namespace backlot {

// Text, EXIF or XMP larger than this is not written, and makes a picture unreadable.
constexpr uint64_t max_text_bytes = uint64_t{1} << 20;  // each, uncompressed
constexpr uint64_t max_text_bytes_in_all = uint64_t{8} << 20;

// All empty: the picture carries no metadata.
struct PictureMetadata {
  Json backlot;            // an object: what read_backlot_metadata gives back
  std::string parameters;  // UTF-8, as a1111_parameters writes it
  std::string creator;     // "backlot 0.1.0"

  bool empty() const { return backlot.is_null() && parameters.empty() && creator.empty(); }
};

// The metadata of an item's picture. `item` is an item as the manifest has it; used are `id`,
// `parameters`, `model` {path, fingerprint} and `dtype`. Equal for runs that make the same picture:
// no times, no devices, and folders are cut off all paths.
PictureMetadata describe_picture(const Json& item);

// `value` with paths reduced to their last part: text under keys that end in "path", and text that
// begins with a slash unless it is a prompt. encode_picture writes all JSON this way.
Json without_folders(const Json& value);

// The text that picture tools read widely:
//   PROMPT
//   Negative prompt: NEGATIVE
//   Steps: 20, Sampler: Euler, CFG scale: 3.5, Seed: 7, Size: 128x128, Model hash: …, Model: …
// with the web UI's names of samplers and its quoting of values. `item` as for describe_picture.
// A clip_skip of N > 0 is written as "Clip skip: N + 2", the web UI's count from the last layer.
std::string a1111_parameters(const Json& item);

// Such a text as {"parameters": {prompt, negative_prompt, steps, seed, guidance_scale, width,
// height, scheduler, …}, "model": {path, hash}, "other": {…}, "from_a1111_text": true}. As far as
// it goes: the text is ambiguous where prompts hold line breaks, and `other` holds the settings
// that have no counterpart here. Fields that the text lacks are absent.
Json parse_a1111_parameters(std::string_view text);

// What describe_picture said of the picture, from a PNG, JPEG or WebP file, a video, a GIF or a
// folder of PNGs: an object with `parameters`; or, from a file of another program,
// parse_a1111_parameters of its text. It is data of unknown origin: check it like any spec. Throws
// LoadError if the file is no such picture or video, is damaged, or carries no metadata;
// EnvironmentError: a video, and no FFmpeg.
Json read_backlot_metadata(const std::filesystem::path& path);

// The same of a picture in memory; `name` is what errors call it.
Json read_backlot_metadata(std::string_view bytes, const std::string& name);

}  // namespace backlot
