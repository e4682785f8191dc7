// From a tree to a validated document: what read_spec and quick_spec share.
#pragma once

#include <filesystem>
#include <string>

#include "spec/spec.h"

namespace backlot {

// `folder` is what paths are relative to; `default_name` is made a safe component if it is none.
SpecDocument document_from(const Value& root, Sources sources, const std::filesystem::path& folder,
                           const std::string& default_name);

// `root` with "path=value" laid over it. Throws SpecError whose where is "--set path".
Value apply_set(const Value& root, const std::string& assignment, Sources& sources);

}  // namespace backlot
