#include "text/clean_prompt.h"

#include "text/ftfy/fix_text.h"
#include "text/html_entities.h"
#include "text/unicode.h"

namespace backlot {
namespace {

// Python's, which also takes the information separators.
bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

}  // namespace

std::string clean_prompt(std::string_view text) {
  const std::u32string fixed = unescape_html(unescape_html(fix_text(decode_utf8(text))));
  std::u32string out;
  for (const char32_t c : fixed) {
    if (!is_python_space(c))
      out += c;
    else if (!out.empty() && out.back() != U' ')
      out += U' ';
  }
  if (out.ends_with(U' ')) out.pop_back();
  return encode_utf8(out);
}

}  // namespace backlot
