// Whether a text stayed with the language and the subject of the prompt that it was made from.
#pragma once

#include <string>
#include <string_view>

namespace backlot {

// By scripts (Japanese is told from Chinese by its kana), and among ten European languages by their
// commonest words. A prompt too short to tell passes. True if the language is another.
bool changes_language(std::u32string_view prompt, std::u32string_view text);

// True if fewer than half of the prompt's content words are in the text: by stems for scripts that
// have them, by characters for Han, kana and Hangul; other scripts are not judged.
bool loses_subject(std::u32string_view prompt, std::u32string_view text);

// One of the commonest words of one of those languages.
bool is_function_word(std::u32string_view word);

}  // namespace backlot
