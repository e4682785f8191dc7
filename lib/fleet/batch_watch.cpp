#include "fleet/batch_watch.h"

#include "media/preview.h"

namespace backlot {
namespace {

// After a first signal the batch in hand goes on if it should end within this; the rest of the
// grace is for writing it.
constexpr double finish_within_seconds = 3.5;

}  // namespace

void BatchWatch::stage(std::string_view name) {
  stage_ = name;
  progress_.stage(name);
}

void BatchWatch::step(int64_t done, int64_t total) {
  if (done > 0) step_seconds_ = step_.lap();
  remaining_ = total - done;
  progress_.step(done, total, std::ssize(batch_));
  if (stage_ == "denoise") say_how_far(done, total);
}

void BatchWatch::denoising(std::span<const size_t> items) {
  denoised_.assign(items.begin(), items.end());
  quarters_ = {};
}

bool BatchWatch::wants_previews(int64_t done, int64_t total) {
  return progress_.wants_previews() && !quarters_.passed_by(done, total).empty();
}

void BatchWatch::preview(size_t item, const Picture& picture) {
  previews_.at(item) = preview_uri(picture);
}

bool BatchWatch::stop_requested() const {
  if (!stop_.requested()) return false;
  if (stage_ == "load") return true;
  // Decoding costs about as much as a few steps.
  const double left =
      static_cast<double>(remaining_ + (stage_ == "denoise" ? 3 : 0)) * step_seconds_;
  return stop_.seconds_since() + left > finish_within_seconds;
}

void BatchWatch::say_how_far(int64_t done, int64_t total) {
  const auto passed = quarters_.pass(done, total);
  for (const int percent : passed)
    for (const size_t item : denoised_)
      progress_.item_progress(*batch_[item], percent,
                              percent == passed.back() ? previews_[item] : "");
}

}  // namespace backlot
