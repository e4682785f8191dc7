// What the name of a model without weights stands for.
#pragma once

#include <string>

#include "weights/model_folder.h"

namespace backlot {

// The published configs of an architecture that makes pictures, or those of a folder. Throws
// UsageError: another architecture, or neither; LoadError.
ModelFolder synthetic_model(const std::string& name);

// The same for an architecture that makes clips.
ModelFolder synthetic_video_model(const std::string& name);

}  // namespace backlot
