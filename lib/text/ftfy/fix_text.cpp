#include "text/ftfy/fix_text.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/ftfy/mojibake.h"
#include "text/html_entities.h"
#include "text/unicode.h"

namespace backlot {
namespace {

enum class Html { unescape, keep };

constexpr size_t longest_segment = 1'000'000;
constexpr int most_rounds = 100;

bool is_ascii_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_ascii_digit(char32_t c) { return c >= '0' && c <= '9'; }

// What `reference`, from its & to its ;, stands for, if that is beyond doubt.
std::u32string unescaped(std::u32string_view reference) {
  if (const auto found = find_entity(reference.substr(1, reference.size() - 2)))
    return std::u32string(*found);
  if (!reference.starts_with(U"&#")) return std::u32string(reference);
  std::u32string result = unescape_html(reference);
  // With a semicolon left, a part alone was a reference.
  return result.find(U';') == std::u32string::npos ? result : std::u32string(reference);
}

// The length of the &name; or &#number; that `text` begins with; 0 if there is none.
size_t reference_length(std::u32string_view text) {
  constexpr size_t longest_name = 24;
  const size_t first = text.starts_with(U"&#") ? 2 : 1;
  size_t end = first;
  while (end < text.size() && end - first <= longest_name &&
         (is_ascii_letter(text[end]) || is_ascii_digit(text[end])))
    ++end;
  const size_t length = end - first;
  const bool fits = length >= 1 && length <= longest_name;
  return fits && end < text.size() && text[end] == ';' ? end + 1 : 0;
}

std::u32string unescape_unmistakable(std::u32string_view text) {
  std::u32string out;
  for (size_t at = 0; at < text.size();) {
    const size_t length = text[at] == '&' ? reference_length(text.substr(at)) : 0;
    if (length > 0)
      out += unescaped(text.substr(at, length));
    else
      out += text[at];
    at += std::max<size_t>(length, 1);
  }
  return out;
}

// What stands for a ligature or digraph of Latin letters; nothing for other characters.
std::u32string_view ligature_parts(char32_t c) {
  switch (c) {
    case 0x132:
      return U"IJ";
    case 0x133:
      return U"ij";
    case 0x149:
      return U"\u02bcn";
    case 0x1C4:
      return U"D\u017d";
    case 0x1C5:
      return U"D\u017e";
    case 0x1C6:
      return U"d\u017e";
    case 0x1C7:
      return U"LJ";
    case 0x1C8:
      return U"Lj";
    case 0x1C9:
      return U"lj";
    case 0x1CA:
      return U"NJ";
    case 0x1CB:
      return U"Nj";
    case 0x1CC:
      return U"nj";
    case 0x1F1:
      return U"DZ";
    case 0x1F2:
      return U"Dz";
    case 0x1F3:
      return U"dz";
    case 0xFB00:
      return U"ff";
    case 0xFB01:
      return U"fi";
    case 0xFB02:
      return U"fl";
    case 0xFB03:
      return U"ffi";
    case 0xFB04:
      return U"ffl";
    case 0xFB05:
      return U"\u017ft";
    case 0xFB06:
      return U"st";
    default:
      return {};
  }
}

void append_usual_width(char32_t c, std::u32string& out) {
  if (c == 0x3000) {
    out += U' ';
    return;
  }
  constexpr size_t longest = 4;
  utf8proc_int32_t parts[longest];
  int boundary = 0;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_STABLE);
  const bool has_width = c >= 0xFF01 && c <= 0xFFEF;
  const auto count = !has_width ? 0
                                : utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts,
                                                          longest, options, &boundary);
  if (count <= 0 || count > static_cast<utf8proc_ssize_t>(longest))
    out += c;
  else
    out.append(parts, parts + count);
}

char32_t uncurled(char32_t c) {
  if (c == 0x2BC || (c >= 0x2018 && c <= 0x201B)) return U'\'';
  if (c >= 0x201C && c <= 0x201F) return U'"';
  return c;
}

// Ligatures, width and quotes: what changes characters one by one.
std::u32string with_usual_characters(std::u32string_view text) {
  std::u32string apart, wide;
  for (const char32_t c : text) {
    const auto parts = ligature_parts(c);
    if (parts.empty())
      apart += c;
    else
      apart += parts;
  }
  for (const char32_t c : apart) append_usual_width(c, wide);
  std::transform(wide.begin(), wide.end(), wide.begin(), uncurled);
  return wide;
}

std::u32string with_usual_line_breaks(std::u32string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    const bool is_break = c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85;
    out += is_break ? U'\n' : c;
  }
  return out;
}

// The length of the "\e[1;31m" that `text` begins with; 0 if there is none.
size_t terminal_escape_length(std::u32string_view text) {
  if (!text.starts_with(U"\x1b[")) return 0;
  size_t at = 2;
  while (at < text.size() && (text[at] == ';' || is_in_category(text[at], "Nd"))) ++at;
  return at < text.size() && is_ascii_letter(text[at]) ? at + 1 : 0;
}

bool is_unwanted_control(char32_t c) {
  return c <= 0x08 || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
         (c >= 0x206A && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

std::u32string without_controls(std::u32string_view text) {
  std::u32string out;
  for (size_t at = 0; at < text.size();) {
    const size_t escape = terminal_escape_length(text.substr(at));
    if (escape == 0 && !is_unwanted_control(text[at])) out += text[at];
    at += std::max<size_t>(escape, 1);
  }
  return out;
}

std::u32string fix_segment(std::u32string text, Html html) {
  for (int round = 0; round < most_rounds; ++round) {
    std::u32string fixed = html == Html::unescape ? unescape_unmistakable(text) : text;
    fixed = fix_c1_controls(fix_encoding(std::move(fixed)));
    fixed = with_usual_line_breaks(with_usual_characters(fixed));
    fixed = nfc(without_controls(fixed));
    if (fixed == text) break;
    text = std::move(fixed);
  }
  return text;
}

}  // namespace

std::u32string fix_text(std::u32string_view text) {
  std::u32string out;
  Html html = Html::unescape;
  for (size_t at = 0; at < text.size();) {
    const size_t line_break = text.find(U'\n', at);
    const size_t end = line_break == std::u32string_view::npos ? text.size() : line_break + 1;
    const auto segment = text.substr(at, std::min(end - at, longest_segment));
    if (segment.find(U'<') != std::u32string_view::npos) html = Html::keep;
    out += fix_segment(std::u32string(segment), html);
    at += segment.size();
  }
  return out;
}

}  // namespace backlot
