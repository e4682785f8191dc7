// Still pictures that stand for clips in the report until they are played.
#pragma once

#include "base/json.h"
#include "run/rooted_folder.h"

namespace backlot {

// Gives each finished video in `manifest` a key `poster`: posters/HASH.jpg in the run folder, its
// first frame, made where it is missing; HASH is the video's. Posters of videos that are gone are
// removed. A video that can't be read, or a machine without FFmpeg, goes without. Throws
// EnvironmentError: not writable.
void add_posters(const RootedFolder& root, Json& manifest);

}  // namespace backlot
