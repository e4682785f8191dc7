// The `output` of a spec.
#pragma once

#include <string>

#include "spec/item.h"
#include "spec/tree.h"

namespace backlot {

// Lays what `output` says over the settings and the folder for run folders. Throws SpecError at
// what is wrong in it, or not for this task.
void read_output(const Value& output, Task task, const Sources& sources, OutputSettings& settings,
                 std::string& dir);

// The text at `entry`. Throws SpecError: anything else, NUL, invalid UTF-8.
std::string text_of(const Value::Entry& entry, std::string_view name, const Sources& sources);

}  // namespace backlot
