// Outputs as they lie in a run folder: a file each, or a folder of files for formats that need
// many.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "run/rooted_folder.h"

namespace backlot {

// Bytes of the regular file, or of all files in the folder; nothing if there is neither, or if the
// folder holds anything but files.
std::optional<uint64_t> output_bytes(const RootedFolder& root, const fs::path& output);

// OutputFile::sha256; nothing if it can't be read.
std::optional<std::string> output_hash(const RootedFolder& root, const fs::path& output);

// The file, or the folder with the files in it. Nothing happens if it is not there.
void remove_output(const RootedFolder& root, const fs::path& output);

}  // namespace backlot
