// Text that was decoded in a wrong encoding, such as "cafÃ©", put right again. After ftfy 6.3.1 by
// Robyn Speer (Apache-2.0, see NOTICE), whose heuristic and tables these are.
#pragma once

#include <string>

namespace backlot {

// ftfy.fix_encoding() with its default settings. Text that does not look wrong comes back as it is.
std::u32string fix_encoding(std::u32string text);

// Characters in the range of the C1 controls become those of Windows-1252 at their places.
std::u32string fix_c1_controls(std::u32string text);

}  // namespace backlot
