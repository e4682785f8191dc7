// Presets: named bundles of defaults.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "spec/field_values.h"

namespace backlot {

// The fields of the preset `name`: from presets.yaml in `folder` if that has it, else from the ones
// that come with backlot (jobspecs/presets.yaml, compiled in). Throws SpecError: at `mark` for an
// unknown name, in the file for what is wrong there.
FieldValues load_preset(const std::string& name, Mark mark, const std::filesystem::path& folder,
                        Sources& sources, Task task);

// The text of jobspecs/presets.yaml.
std::string_view shipped_presets();

}  // namespace backlot
