// Where models are looked for by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "weights/model_folder.h"

namespace backlot {

// Model folders and checkpoint files directly below $BACKLOT_MODELS, ./models and the installed
// models folder, each once.
std::vector<std::filesystem::path> list_models();

// `name` as a path, if it is there, else the model of that name among list_models(); `name` as it
// stands if there is neither.
std::filesystem::path find_model(const std::string& name);

// Width and height of the pictures that a model was trained for, if its configs say so.
std::optional<int64_t> default_pixels(const ModelFolder& model);

}  // namespace backlot
