// The best quality whose file is small enough, with few files made on the way.
#pragma once

#include <cstdint>
#include <optional>

namespace backlot {

// Files get smaller from level to level.
struct QualityScale {
  int start = 0, worst = 0;         // the level that is wanted, the last there is
  double levels_to_halve_size = 6;  // about
};

// Told the size at one level after another, starting with `start`, it says which to try next. Sizes
// are taken to fall steadily; where they don't for once, a level fits all the same, but a better
// one might have, too.
class QualitySearch {
 public:
  QualitySearch(QualityScale scale, std::optional<uint64_t> max_bytes)
      : scale_(scale), max_bytes_(max_bytes), level_(scale.start) {}

  // `bytes`: at the last level. The next one to try; nothing if the search is over. The best is
  // then the last that fitted, if any did.
  std::optional<int> next(uint64_t bytes);

  uint64_t smallest() const { return smallest_; }  // bytes, of all tried

 private:
  struct Tried {
    int level = 0;
    uint64_t bytes = 0;
  };

  QualityScale scale_;
  std::optional<uint64_t> max_bytes_;
  int level_;
  int tries_ = 0;
  uint64_t smallest_ = UINT64_MAX;
  std::optional<Tried> too_large_, fits_;
};

}  // namespace backlot
