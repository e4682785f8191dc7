#include "text/html_entities.h"

#include <algorithm>
#include <string>
#include <unordered_map>

namespace backlot {
namespace {

struct Entity {
  const char* name;         // without & and ;
  const char32_t* value;    // one or two characters
  bool bare;                // is known without semicolon, too
  const char32_t* capital;  // of the name in capitals; empty if that is none
};

constexpr Entity entities[] = {
#include "text/html_entities.inc"
};

std::string ascii(std::u32string_view text) {
  std::string out;
  for (const char32_t c : text) {
    if (c >= 0x80) return "";
    out += static_cast<char>(c);
  }
  return out;
}

const Entity* entity_named(const std::string& name) {
  static const auto by_name = [] {
    std::unordered_map<std::string_view, const Entity*> index;
    for (const Entity& entity : entities) index.emplace(entity.name, &entity);
    return index;
  }();
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : found->second;
}

constexpr char32_t replacement = 0xFFFD;

// What browsers make of the numbers 0x80 to 0x9F: Windows-1252.
constexpr char32_t windows_1252[] = {0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021,
                                     0x2C6,  0x2030, 0x160,  0x2039, 0x152,  0x8D,   0x17D,  0x8F,
                                     0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                     0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178};

bool is_no_character(uint32_t n) {
  return (n >= 1 && n <= 8) || n == 0xB || (n >= 0xE && n <= 0x1F) || n == 0x7F ||
         (n >= 0xFDD0 && n <= 0xFDEF) || (n & 0xFFFE) == 0xFFFE;
}

void append_numbered(uint32_t number, std::u32string& out) {
  constexpr uint32_t last = 0x10FFFF;
  if (number >= 0x80 && number <= 0x9F)
    out += windows_1252[number - 0x80];
  else if (number == 0 || number > last || (number >= 0xD800 && number <= 0xDFFF))
    out += replacement;
  else if (!is_no_character(number))
    out += static_cast<char32_t>(number);
}

int digit_value(char32_t c, int base) {
  if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
  if (base == 16 && c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  if (base == 16 && c >= 'A' && c <= 'F') return static_cast<int>(c - 'A') + 10;
  return -1;
}

// Appends what the text, which begins with "&#", stands for, and returns how much of it; 0 if it is
// no reference.
size_t take_numbered(std::u32string_view text, std::u32string& out) {
  size_t at = 2;
  const bool hexadecimal = at < text.size() && (text[at] == 'x' || text[at] == 'X');
  if (hexadecimal) ++at;
  const int base = hexadecimal ? 16 : 10;
  const size_t first = at;
  uint64_t number = 0;
  constexpr uint64_t beyond = 0x110000;
  for (int digit; at < text.size() && (digit = digit_value(text[at], base)) >= 0; ++at)
    number = std::min(beyond, number * static_cast<uint64_t>(base) + static_cast<uint64_t>(digit));
  if (at == first) return 0;
  append_numbered(static_cast<uint32_t>(number), out);
  return at < text.size() && text[at] == ';' ? at + 1 : at;
}

// As take_numbered(), for a text that begins with "&" alone.
size_t take_named(std::u32string_view text, std::u32string& out) {
  constexpr size_t longest = 32;
  const size_t end = std::min(text.find_first_of(U"\t\n\f <&#;", 1), text.size());
  const auto name = text.substr(1, std::min(end, longest + 1) - 1);
  const bool ended = 1 + name.size() < text.size() && text[1 + name.size()] == ';';
  if (ended) {
    if (const Entity* entity = entity_named(ascii(name))) {
      out += entity->value;
      return name.size() + 2;
    }
  }
  for (size_t length = name.size(); length > 1; --length) {
    const Entity* entity = entity_named(ascii(name.substr(0, length)));
    if (!entity || !entity->bare) continue;
    out += entity->value;
    return length + 1;
  }
  return 0;
}

}  // namespace

std::u32string unescape_html(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    size_t taken = 0;
    if (text[at] == '&')
      taken = text.substr(at).starts_with(U"&#") ? take_numbered(text.substr(at), out)
                                                 : take_named(text.substr(at), out);
    if (taken == 0) out += text[at++];
    at += taken;
  }
  return out;
}

std::optional<std::u32string_view> find_entity(std::u32string_view name) {
  const std::string key = ascii(name);
  if (const Entity* entity = entity_named(key)) return entity->value;
  std::string small = key;
  for (char& c : small) {
    if (c >= 'a' && c <= 'z') return std::nullopt;
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  const Entity* entity = entity_named(small);
  if (!entity || *entity->capital == 0) return std::nullopt;
  return entity->capital;
}

}  // namespace backlot
