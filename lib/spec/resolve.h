// Files that a spec names, and the spec as a manifest records it.
#pragma once

#include <filesystem>
#include <string>

#include "spec/spec.h"

namespace backlot {

// The folder or checkpoint file that `written` means: relative to the spec's folder, else a name
// under $BACKLOT_MODELS, a bare name also under ./models and the installed models. Absolute. Throws
// LoadError at `mark` if there is neither.
std::filesystem::path find_model(const SpecDocument& document, const std::string& written,
                                 Mark mark);

// SHA-256 over the names and contents of a folder's configuration and weights (*.json,
// *.safetensors), whatever the folder is called.
std::string folder_hash(const std::filesystem::path& folder);

// Plan::spec.
Json resolved_spec(const SpecDocument& document);

}  // namespace backlot
