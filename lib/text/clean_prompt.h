// A prompt as diffusers' prompt_clean() leaves it, which Wan's text encoder was trained behind.
#pragma once

#include <string>
#include <string_view>

namespace backlot {

// fix_text(), HTML's character references resolved twice, runs of white space as one space, none at
// either end. Invalid UTF-8 counts as U+FFFD. Well-formed UTF-8 comes back.
std::string clean_prompt(std::string_view text);

}  // namespace backlot
