// Threads that share out many short loops, a few microseconds each, as a language model's layers
// have them for every token.
//
// Pieces are taken as threads come free, the caller's own included, and a loop waits only for
// pieces that somebody has begun. So a thread that the system does not let run, on a machine that
// has other work, costs its share and holds nobody up; loops with fixed shares and barriers
// (OpenMP's) then wait for it at every loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace backlot {

class ThreadTeam {
 public:
  // `threads` at most work on a loop, its caller among them; at least 1.
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Pieces a thread, as a rule: enough that those who come late find something to do. Loops of a
  // millisecond and more want `fine` ones, so that nobody waits long for the last.
  static constexpr int64_t coarse = 4, fine = 32;

  // Calls work(begin, end) for pieces of [0, count) of at least `grain`; returns when all are done.
  // The first pieces are begun first. The work throws nothing and calls no loop of the same team.
  // One loop at a time.
  template <class Work>
  void loop(int64_t count, int64_t grain, const Work& work, int64_t pieces_each = coarse) {
    if (count <= 0) return;
    if (helpers_.empty() || count <= grain) {
      work(int64_t{0}, count);
      return;
    }
    run(count, grain, pieces_each, &work, [](const void* context, int64_t begin, int64_t end) {
      (*static_cast<const Work*>(context))(begin, end);
    });
  }

 private:
  using Piece = void (*)(const void* work, int64_t begin, int64_t end);
  // What a helper needs to take a piece, read and changed as one: which loop it is, how many pieces
  // it has, and the next one.
  static constexpr int piece_bits = 20;
  static constexpr uint64_t piece_mask = (uint64_t{1} << piece_bits) - 1;

  void run(int64_t count, int64_t grain, int64_t pieces_each, const void* work, Piece piece);
  bool take_piece();
  void help();

  std::atomic<uint64_t> ticket_{0};
  std::atomic<int64_t> done_{0};
  std::atomic<int> asleep_{0};
  std::atomic<bool> over_{false};
  uint64_t loops_ = 0;
  // Of the loop under way: set before its ticket, unchanged until all its pieces are done.
  std::atomic<const void*> work_{nullptr};
  std::atomic<Piece> piece_{nullptr};
  std::atomic<int64_t> count_{0}, piece_size_{0};
  std::vector<std::thread> helpers_;
};

}  // namespace backlot
