// What ftfy.fix_text() does to a text with its default settings. After ftfy 6.3.1 by Robyn Speer
// (Apache-2.0, see NOTICE).
#pragma once

#include <string>
#include <string_view>

namespace backlot {

// Line by line, until nothing changes any more: HTML's unmistakable character references are
// resolved (up to the first line with a "<"), mojibake is repaired, C1 controls become
// Windows-1252, Latin ligatures are taken apart, full-width and half-width forms get their usual
// width, curly quotes become straight, line breaks become "\n", terminal escapes and control
// characters go, and the rest is composed (NFC). Surrogates, which ftfy also repairs, can't be in
// `text`.
//
// A text that needs more than 100 rounds, with references nested that deep, is left at that.
std::u32string fix_text(std::u32string_view text);

}  // namespace backlot
