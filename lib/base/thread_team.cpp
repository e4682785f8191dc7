#include "base/thread_team.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace backlot {
namespace {

// About 30 microseconds: longer than the way from one layer to the next, shorter than anybody
// minds.
constexpr int spins_awake = 2000;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

ThreadTeam::ThreadTeam(int threads) {
  for (int i = 1; i < threads; ++i) helpers_.emplace_back([this] { help(); });
}

ThreadTeam::~ThreadTeam() {
  over_ = true;
  ticket_.fetch_add(uint64_t{1} << (2 * piece_bits));  // no pieces are left: only news
  ticket_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

bool ThreadTeam::take_piece() {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  do {
    if ((ticket & piece_mask) >= (ticket >> piece_bits & piece_mask)) return false;
  } while (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel,
                                          std::memory_order_acquire));
  const auto size = piece_size_.load(std::memory_order_relaxed);
  const auto begin = static_cast<int64_t>(ticket & piece_mask) * size;
  const auto end = std::min(begin + size, count_.load(std::memory_order_relaxed));
  piece_.load(std::memory_order_relaxed)(work_.load(std::memory_order_relaxed), begin, end);
  done_.fetch_add(1, std::memory_order_release);
  return true;
}

void ThreadTeam::run(int64_t count, int64_t grain, int64_t pieces_each, const void* work,
                     Piece piece) {
  const int64_t wanted = threads() * pieces_each;
  const int64_t size = std::max(
      {grain, (count + wanted - 1) / wanted, count / static_cast<int64_t>(piece_mask) + 1});
  const int64_t pieces = (count + size - 1) / size;
  work_.store(work, std::memory_order_relaxed);
  piece_.store(piece, std::memory_order_relaxed);
  count_.store(count, std::memory_order_relaxed);
  piece_size_.store(size, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  ticket_.store(++loops_ << (2 * piece_bits) | static_cast<uint64_t>(pieces) << piece_bits,
                std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst) > 0) ticket_.notify_all();
  while (take_piece()) {
  }
  for (int spins = 0; done_.load(std::memory_order_acquire) < pieces; ++spins) {
    if (spins < spins_awake)
      pause();
    else
      std::this_thread::yield();
  }
}

void ThreadTeam::help() {
  int spins = 0;
  while (!over_.load(std::memory_order_relaxed)) {
    if (take_piece()) {
      spins = 0;
    } else if (++spins < spins_awake) {
      pause();
    } else {
      asleep_.fetch_add(1, std::memory_order_seq_cst);
      const uint64_t seen = ticket_.load(std::memory_order_seq_cst);
      const bool nothing = (seen & piece_mask) >= (seen >> piece_bits & piece_mask);
      if (nothing && !over_.load()) ticket_.wait(seen, std::memory_order_seq_cst);
      asleep_.fetch_sub(1, std::memory_order_seq_cst);
      spins = 0;
    }
  }
}

}  // namespace backlot
