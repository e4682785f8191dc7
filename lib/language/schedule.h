// Which sequences are computed in the next pass, and which blocks are theirs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "language/block_pool.h"

namespace backlot {

// What the schedule knows of a request; the rest is its owner's.
struct Sequence {
  virtual ~Sequence() = default;

  int64_t id = 0;               // smaller ones came earlier, and go first
  std::vector<int32_t> tokens;  // the prompt, then what was generated
  std::vector<int32_t> blocks;
  int64_t computed = 0;   // of tokens: their keys and values are in the blocks
  int64_t published = 0;  // of blocks: other sequences may find them
  int64_t shared = -1;    // of tokens: found when it was first begun; -1: not begun
  int64_t pending() const { return static_cast<int64_t>(tokens.size()) - computed; }
};

// Sequences wait, run, may be sent back to wait, and leave. A sequence that begins as a running one
// does waits until the running one has computed the common blocks. All that run have blocks for all
// their tokens; when there are none for one more, the youngest gives its own back and starts again
// later, so that the oldest always comes to its end. No sequence may need more than all blocks.
class Schedule {
 public:
  Schedule(BlockPool pool, int64_t max_sequences);

  void add(std::unique_ptr<Sequence> sequence);
  std::unique_ptr<Sequence> remove(int64_t id);  // gives its blocks back
  Sequence* find(int64_t id) const;              // null if it is not there
  bool empty() const { return waiting_.empty() && running_.empty(); }

  struct Run {
    Sequence* sequence = nullptr;
    int64_t tokens = 0;  // from sequence->computed on
  };
  // The runs of the next pass, of at most so many tokens: first one token of each sequence that
  // lacks only one, then parts of prompts. Empty only if there are no sequences.
  std::vector<Run> plan(int64_t most_tokens);

  // The pass with this run is over: its tokens' keys and values are written.
  void finish(const Run& run);

  int64_t preemptions() const { return preemptions_; }
  const BlockPool& pool() const { return pool_; }

 private:
  void extend_running();
  void admit(int64_t most_tokens);
  bool try_begin(Sequence& sequence, const BlockPool::Known& known);
  bool will_be_known(const Sequence& sequence, int64_t known_blocks) const;
  void preempt_youngest();
  void give_back(Sequence& sequence);
  // Blocks of its beginning that may be shared: one token at least has to be computed.
  int64_t shareable(const Sequence& sequence) const;

  BlockPool pool_;
  int64_t max_sequences_;
  std::map<int64_t, std::unique_ptr<Sequence>> waiting_, running_;  // by id
  int64_t preemptions_ = 0;
};

}  // namespace backlot
