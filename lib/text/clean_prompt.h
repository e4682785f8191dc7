// A prompt as diffusers' prompt_clean() leaves it, which Wan's text encoder was trained behind.
#pragma once

#include <string>
#include <string_view>

namespace backlot {

// fix_text() (of text/ftfy/fix_text.h), HTML's character references resolved twice, runs of white
// space as one space, none at either end. Invalid UTF-8 counts as U+FFFD. Well-formed UTF-8 comes
// back. Nothing of what the reference does is left out.
std::string clean_prompt(std::string_view text);

}  // namespace backlot
