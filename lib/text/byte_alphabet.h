// GPT-2's way to write any byte as a printable character, in which byte-level vocabularies are
// spelled: a space is "Ġ", a line feed "Ċ".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace backlot {

// The bytes in the order in which byte-level vocabularies begin: printable ones first.
const std::array<unsigned char, 256>& byte_alphabet_order();

// The character for each byte, as UTF-8.
const std::array<std::string, 256>& byte_alphabet();

// The bytes that `token` stands for, or nothing if one of its characters is not in the alphabet.
std::optional<std::string> bytes_of_token(std::string_view token);

}  // namespace backlot
