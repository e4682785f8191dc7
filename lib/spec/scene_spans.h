// Where the scenes of a clip are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace backlot {

// A scene's place in a clip that has several.
struct SceneSpan {
  std::string prompt;
  uint64_t seed = 0;
  int64_t first_frame = 0;    // in the file, from 0
  int64_t frames = 0;         // with those that it shares
  int64_t shared_before = 0;  // the first of them, which fade in over the scene before
};

// Those of an item with these parameters, in their order; none for one prompt.
std::vector<SceneSpan> scene_spans(const Json& parameters);

// As the manifest has it.
Json to_json(const SceneSpan& span);

}  // namespace backlot
