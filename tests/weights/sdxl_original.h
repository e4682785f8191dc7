// An SDXL checkpoint file in its original naming, made from the listings of diffusers' names and
// shapes: the renaming written the other way round, and apart from the one under test.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/files.h"

namespace backlot {

using Listing = std::map<std::string, std::vector<int64_t>>;

// "sdxl-unet.txt" and its like: a name and a shape a line, comments after '#'.
Listing read_listing(const fs::path& path);

// Original names and stored shapes of all four components' tensors.
Listing original_sdxl(const fs::path& listings);

// A sparse file with these float16 tensors: gigabytes that take no space. Each tensor's first bytes
// are its number in the file as 32 bits.
void write_sparse_checkpoint(const fs::path& path, const Listing& tensors);

}  // namespace backlot
