// Which samplers there are and what configures them; without LibTorch, so that a spec can be
// judged before the engine is loaded.
#pragma once

#include <string_view>
#include <vector>

#include "base/json.h"

namespace backlot {

// The short names a job may give: euler, euler_ancestral, ddim, ...
std::vector<std::string_view> scheduler_names();

// Throws SpecError (with an empty `where`, for the caller to fill) unless `choice` is null, a
// known name, or a mapping whose `_class_name` and keys are known and valid.
void check_scheduler(const Json& choice);

// The complete config of the sampler to build, `_class_name` and every key of the class.
//   choice null: the model folder's config, class defaults for what it lacks.
//   a name:      the name's class over the folder's config, as the reference's
//                CLASS.from_config(pipe.scheduler.config): keys the class does not have are
//                dropped, then the name's own keys are set.
//   a mapping:   that alone; the folder's config has no say.
// `folder_config` is the content of scheduler/scheduler_config.json. Throws SpecError if the
// choice is wrong, LoadError if the folder's config is, or asks for what is not implemented.
Json resolve_scheduler_config(const Json& choice, const Json& folder_config);

// Reads the text of a scheduler_config.json, in which Python may have written Infinity and NaN
// (they become null). Throws LoadError with `where` if it is not a JSON object.
Json parse_scheduler_config(std::string_view text, std::string_view where);

}  // namespace backlot
