// Presets: named bundles of defaults.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spec/enhance_stage.h"
#include "spec/field_values.h"

namespace backlot {

struct Preset {
  Task task = Task::text_to_image;
  FieldValues fields;
  std::optional<uint64_t> max_bytes;    // of one output, where the spec's output says nothing
  std::optional<EnhanceStage> enhance;  // likewise
};

// 12345, "10MB" (powers of 1000) or "10MiB" (of 1024). Throws Problem for anything else.
uint64_t read_size(const Value& value);

// The preset `name`: from presets.yaml in `folder` if that has it, else from the ones
// that come with backlot (jobspecs/presets.yaml, compiled in). Throws SpecError: at `mark` for an
// unknown name or a preset of another task than the one `wanted`, in the file for what is wrong
// there.
Preset load_preset(const std::string& name, Mark mark, const std::filesystem::path& folder,
                   Sources& sources, std::optional<Task> wanted);

// The text of jobspecs/presets.yaml.
std::string_view shipped_presets();

}  // namespace backlot
