// Damage to files, the same on every run.
#pragma once

#include <algorithm>
#include <random>
#include <string>

namespace backlot {

// A few bytes changed, a piece cut out, doubled or moved, or the end missing.
inline std::string mutate(std::string bytes, std::mt19937& random) {
  const auto below = [&](size_t limit) { return random() % std::max<size_t>(limit, 1); };
  switch (below(6)) {
    case 0:
      bytes.resize(below(bytes.size()));
      break;
    case 1:
      bytes.erase(below(bytes.size()), below(40));
      break;
    case 2: {
      const size_t at = below(bytes.size());
      bytes.insert(below(bytes.size()), bytes.substr(at, below(200)));
      break;
    }
    case 3:  // headers and metadata are at the front
      for (size_t n = 1 + below(4); n > 0; --n)
        bytes[below(std::min<size_t>(bytes.size(), 200))] = static_cast<char>(random());
      break;
    default:
      for (size_t n = 1 + below(8); n > 0; --n)
        bytes[below(bytes.size())] ^= static_cast<char>(1 << below(8));
  }
  return bytes;
}

}  // namespace backlot
