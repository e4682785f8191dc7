#include "text/character_map.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <stdexcept>

#include "base/text.h"
#include "base/utf8.h"

namespace backlot {
namespace {

// The units of a Darts-clone double array.
constexpr uint32_t value_bit = uint32_t{1} << 31;

bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t label(uint32_t unit) { return unit & (value_bit | 0xFF); }
uint32_t offset(uint32_t unit) { return (unit >> 10) << ((unit & (1U << 9)) >> 6); }
uint32_t value(uint32_t unit) { return unit & ~value_bit; }

uint32_t read_u32(std::string_view bytes, size_t at) {
  uint32_t result = 0;
  for (size_t i = 4; i-- > 0;) result = result << 8 | static_cast<unsigned char>(bytes[at + i]);
  return result;
}

bool begins_character(std::string_view text, size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
}

}  // namespace

CharacterMap::CharacterMap(std::string_view bytes) {
  const size_t header = sizeof(uint32_t);
  if (bytes.size() < header) throw std::invalid_argument("it is cut short");
  const size_t trie_bytes = read_u32(bytes, 0);
  if (trie_bytes == 0 || trie_bytes % sizeof(uint32_t) != 0 || trie_bytes > bytes.size() - header)
    throw std::invalid_argument(
        fmt::format("its trie has {} bytes of {}", trie_bytes, bytes.size() - header));
  for (size_t at = header; at < header + trie_bytes; at += sizeof(uint32_t))
    trie_.push_back(read_u32(bytes, at));
  replacements_ = bytes.substr(header + trie_bytes);
  if (!is_utf8(replacements_)) throw std::invalid_argument("its replacements are not UTF-8");
  for (size_t i = 0; i < trie_.size(); ++i) {
    if ((trie_[i] & value_bit) != 0 || !has_leaf(trie_[i])) continue;
    const size_t leaf = i ^ offset(trie_[i]);
    if (leaf >= trie_.size() || !begins_character(replacements_, value(trie_[leaf])))
      throw std::invalid_argument(fmt::format("entry {} of its trie leads nowhere", i));
  }
}

// Of the shortest beginning of `key` that the map has.
std::optional<std::string_view> CharacterMap::replacement(std::string_view key) const {
  size_t node = offset(trie_[0]);
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    node ^= byte;
    if (byte == 0 || node >= trie_.size() || label(trie_[node]) != byte) return std::nullopt;
    const uint32_t unit = trie_[node];
    node ^= offset(unit);
    if (has_leaf(unit)) {
      const std::string_view rest = std::string_view(replacements_).substr(value(trie_[node]));
      return rest.substr(0, rest.find('\0'));
    }
  }
  return std::nullopt;
}

std::string CharacterMap::operator()(std::string_view text) const {
  constexpr size_t longest_cluster = 5;
  const std::u32string characters = decode_utf8(text);
  std::string out;
  out.reserve(text.size());
  utf8proc_int32_t state = 0;
  for (size_t begin = 0, end = 1; begin < characters.size(); begin = end++) {
    const auto breaks_at = [&](size_t at) {
      return utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(characters[at - 1]),
                                              static_cast<utf8proc_int32_t>(characters[at]),
                                              &state);
    };
    while (end < characters.size() && !breaks_at(end)) ++end;
    const std::string cluster =
        encode_utf8(std::u32string_view(characters).substr(begin, end - begin));
    if (cluster.size() <= longest_cluster) {
      if (const auto found = replacement(cluster)) {
        out += *found;
        continue;
      }
    }
    for (const char32_t c : std::u32string_view(characters).substr(begin, end - begin)) {
      const std::string character = encode_utf8({&c, 1});
      out += replacement(character).value_or(character);
    }
  }
  return out;
}

}  // namespace backlot
