#include "media/quality_search.h"

#include <algorithm>
#include <cmath>

namespace backlot {

std::optional<int> QualitySearch::next(uint64_t bytes) {
  smallest_ = std::min(smallest_, bytes);
  if (!max_bytes_) return std::nullopt;
  if (bytes <= *max_bytes_) {
    fits_ = {level_, bytes};
    if (!too_large_) return std::nullopt;  // what was wanted fits
  } else {
    too_large_ = {level_, bytes};
    if (level_ >= scale_.worst) return std::nullopt;
  }
  const int low = too_large_->level + 1;
  const int high = fits_ ? fits_->level - 1 : scale_.worst;
  if (low > high) return std::nullopt;

  // Sizes fall about exponentially. Guesses that go wrong give way to halving.
  const auto log_ratio = [](uint64_t a, uint64_t b) {
    return std::log2(static_cast<double>(std::max<uint64_t>(a, 1)) /
                     static_cast<double>(std::max<uint64_t>(b, 1)));
  };
  const double excess = log_ratio(too_large_->bytes, *max_bytes_);
  double levels_per_halving = scale_.levels_to_halve_size;
  if (fits_)
    levels_per_halving = (fits_->level - too_large_->level) /
                         std::max(1e-3, log_ratio(too_large_->bytes, fits_->bytes));
  const int guess = too_large_->level + static_cast<int>(std::ceil(excess * levels_per_halving));
  constexpr int tries_before_halving = 5;
  level_ = ++tries_ < tries_before_halving ? std::clamp(guess, low, high) : (low + high) / 2;
  return level_;
}

}  // namespace backlot
