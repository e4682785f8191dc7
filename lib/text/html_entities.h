// HTML's character references, such as &amp; &eacute; and &#x2014;
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace backlot {

// The text with its character references resolved as browsers do and Python's html.unescape() does:
// those of HTML 5 by name, some without semicolon too, and numbers, where those that stand for no
// character become U+FFFD or nothing.
std::u32string unescape_html(std::u32string_view text);

// What ftfy takes for an unmistakable reference: `name` stands between & and ;, and is one of HTML
// 5's, or one of those that are in lower case, in capitals: &EACUTE;
std::optional<std::u32string_view> find_entity(std::u32string_view name);

}  // namespace backlot
