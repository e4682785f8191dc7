// Scenes: several prompts of one job that become one clip.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "spec/field_values.h"
#include "spec/tree.h"

namespace backlot {

inline constexpr size_t most_scenes = 100;

// What a mapping that is a scene may hold.
inline constexpr std::string_view scene_keys[] = {"prompt", "negative_prompt", "seed",
                                                  "frames", "transition",      "transition_frames"};

// A Problem that knows its place. Worded to follow "scenes ".
struct ProblemAt : Problem {
  Mark mark;
};

// A list of scenes as FieldValue carries it: each a mapping, values checked, texts with their
// alternatives. Throws ProblemAt.
Json scenes_from(const Value& value);

// The place of the key in the scene (from 0), as near as is known.
Mark scene_mark(const FieldValue& scenes, size_t scene, std::string_view key);

// Makes `parameters` of a video, which hold `frames`, those of its scenes, if it has any: what a
// scene leaves to the job is filled in, but for seeds, which stay null; `frames` becomes the length
// of the whole. Throws SpecError: lengths other than one more than a multiple of
// `frames_multiple`, transitions that are too long, transitions without scenes.
void settle_scenes(const FieldValues& fields, int64_t frames_multiple, const Sources& sources,
                   Json& parameters);

// Scenes that such parameters have, 0 for a clip of one prompt.
size_t count_scenes(const Json& parameters);

// Gives scenes that have no seed `first`, first + 1, … by their places; `seed` becomes that of the
// first scene.
void give_scene_seeds(Json& parameters, uint64_t first);

}  // namespace backlot
