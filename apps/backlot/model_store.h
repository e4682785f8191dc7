// Where models are looked for by name.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace backlot {

// Model folders and checkpoint files directly below $BACKLOT_MODELS, ./models and the installed
// models folder, each once.
std::vector<std::filesystem::path> list_models();

}  // namespace backlot
