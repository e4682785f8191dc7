// Files that come with backlot.
#pragma once

#include <filesystem>
#include <optional>

namespace backlot {

// Where `relative` ("models/clip-tokenizer") lies in this installation: under the folder above the
// executable's (a build folder or an unpacked archive), under share/backlot there (an installed
// prefix), or in the source tree that backlot was built from. nullopt: it was not shipped.
std::optional<std::filesystem::path> shipped_file(const std::filesystem::path& relative);

// One of backlot's own shared libraries ("libbacklot_engine.so"), in lib/ or ../lib beside the
// executable or right beside it. nullopt: it is not there.
std::optional<std::filesystem::path> own_library(const std::filesystem::path& name);

}  // namespace backlot
