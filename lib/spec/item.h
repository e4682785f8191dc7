// What a spec becomes: a plan of items, each one output with all its parameters resolved.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "spec/style.h"

namespace backlot {

enum class Task { text_to_image, text_to_video, enhance, analyze_video, image_to_3d };

// Kinds of models that make pictures and videos. Wan makes both: a picture is one frame.
enum class ModelFamily { sdxl, wan };

// How outputs are written, the same for all items of a plan.
struct OutputSettings {
  std::string format = "png";                     // output_formats() of the task
  std::string name = "{index:05}-{slug}-{seed}";  // template without extension
  std::optional<uint64_t> max_bytes;              // of one output file
  int quality = 90;                               // jpeg, webp and videos, 1 to 100
  std::string codec;                              // of videos, by name; "": the container's usual
  std::optional<int> crf;                         // of videos, in place of quality
  int bit_depth = 8;                              // of videos: 8 or 10
  bool metadata = true;                           // false: no text chunks, EXIF or XMP
  std::optional<uint64_t> quota;                  // bytes of all outputs in the run folder
  std::optional<uint64_t> min_free;  // of the disk, kept; else 1 % of it, at most 512 MiB
};

struct Item {
  std::string id;               // item_id() of task, parameters and model_fingerprint
  int64_t index = 0;            // place in the plan, from 0
  std::string job;              // the job's id, or "job-N" counted from 1
  std::filesystem::path model;  // absolute
  std::string model_fingerprint;
  std::optional<std::filesystem::path> vae;  // absolute; in `parameters` only its name and hash
  Json parameters;     // every field resolved, defaults filled in, names as in the spec; files
                       // (image, vae, loras…) stand as {"path": name, "sha256": …}
  std::string output;  // path relative to the run folder, e.g. "images/00000-a-red-apple-7.png"
  // With an enhance stage: which of Plan::texts the prompt becomes, and that text once it is made.
  // What is rendered is the text; `parameters` keep the prompt as it was given.
  std::string text_id;
  std::optional<std::string> enhanced_prompt;
};

// Whether a video model makes it, be it a clip or one frame as a picture: its parameters then have
// `frames`.
bool by_video_model(const Item& item);

// What is rendered: `parameters` with the enhanced prompt in the prompt's place. The original is
// then in "enhance". Reading that again needs no language model.
Json rendered_parameters(const Item& item);

// The prompt among `parameters`; of a chat, what was said last; of scenes all, between slashes.
std::string prompt_of(const Json& parameters);

// A text that a language model is to make before the items that use it.
struct PlannedText {
  std::string id;      // item_id() as for an item of the task enhance
  std::string prompt;  // of a chat, what was said last
  Json messages = {};  // a chat that is answered as it is, without a style; null for a prompt
  std::filesystem::path model;  // absolute
  std::string model_fingerprint;
  std::shared_ptr<const Style> style;
  TextSampling sampling;
  int64_t retries = 0;
  uint64_t seed = 0;
};

// "text-to-image", …
std::string_view task_name(Task task);

// The formats that outputs of the task can have, the usual one first; none for other tasks than
// pictures and videos.
std::span<const std::string_view> output_formats(Task task);

// "images", "videos": the folder of the task's outputs.
std::string_view output_folder(Task task);

// Whether an output of that format is a folder of files.
inline bool is_folder_format(std::string_view format) { return format == "png-sequence"; }

// SHA-256 of canonical_json({"schema": 1, "task", "parameters", "model": fingerprint}): the same
// wherever the model lies and whatever made the parameters.
std::string item_id(Task task, const Json& parameters, std::string_view model_fingerprint);

struct Plan {
  std::string name;  // the run folder's name
  Task task = Task::text_to_image;
  std::filesystem::path run_folder;  // where outputs go, absolute
  // As resolved: preset and --set worked in, no absolute paths. Read again beside the original,
  // with the same base seed, it gives the same items.
  Json spec;
  OutputSettings output;
  std::vector<Item> items;         // their ids and outputs are distinct
  std::vector<PlannedText> texts;  // their ids are distinct; in the order of first use
};

}  // namespace backlot
