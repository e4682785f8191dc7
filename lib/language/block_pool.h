// Blocks of keys and values: who uses which, and which of them hold a beginning that another
// sequence has too (Kwon et al., PagedAttention, arXiv 2309.06180, section 4.4; the sharing of
// blocks that are full is vLLM's "automatic prefix caching").
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace backlot {

// Counts references to block ids 0 … block_count - 1; what is in a block is the model's. A block
// that is full and written may be published under the tokens it holds and the block before it.
// Published blocks are found by later sequences with the same beginning, and stay findable when
// nobody uses them any more, until room is needed: the longest unused goes first.
class BlockPool {
 public:
  // A number for the tokens of a block that follows `previous` (-1: none). Blocks with the same
  // number are told apart by their tokens.
  using Hash = uint64_t (*)(int64_t previous, std::span<const int32_t> tokens);
  static uint64_t hash_tokens(int64_t previous, std::span<const int32_t> tokens);

  BlockPool(int64_t block_count, int64_t block_tokens, Hash hash = hash_tokens);

  int64_t block_count() const { return static_cast<int64_t>(blocks_.size()); }
  int64_t block_tokens() const { return block_tokens_; }
  int64_t available() const;  // how often allocate() would succeed now
  // The blocks that so many tokens take.
  int64_t blocks_for(int64_t tokens) const { return (tokens + block_tokens_ - 1) / block_tokens_; }

  // A block with one reference whose contents are nobody's; nothing if all are in use.
  std::optional<int32_t> allocate();

  // The published blocks that hold the beginning of `tokens`, at most `most` of them, in order and
  // with a reference more each.
  std::vector<int32_t> share(std::span<const int32_t> tokens, int64_t most);

  // How many blocks share() would give, and how many of those are in use: the others count as
  // available until they are shared.
  struct Known {
    int64_t blocks = 0;
    int64_t in_use = 0;
  };
  Known known(std::span<const int32_t> tokens, int64_t most) const;

  // Makes the block `chain.back()` findable: it is written whole and holds `tokens` (block_tokens
  // of them), after the blocks before it in `chain`, which are published. If an equal one is
  // published already, the reference moves to that one. Returns the block to use from now on.
  int32_t publish(std::span<const int32_t> chain, std::span<const int32_t> tokens);

  // Gives back one reference to each. Later blocks count as used longer ago than earlier ones.
  void release(std::span<const int32_t> blocks);

 private:
  struct Block {
    int64_t references = 0;
    // Of the published: a number never given twice, and the previous block's. They and not block
    // ids chain blocks, so that a block taken for something else does not look like the old one.
    int64_t serial = -1;
    int64_t previous = -1;
    uint64_t hash = 0;
    uint64_t released_at = 0;
    std::vector<int32_t> tokens;
  };

  std::optional<int32_t> find(int64_t previous, std::span<const int32_t> tokens) const;
  void forget(int32_t block);

  int64_t block_tokens_;
  Hash hash_;
  std::vector<Block> blocks_;
  std::vector<int32_t> free_;                         // neither used nor published
  std::set<std::pair<uint64_t, int32_t>> unused_;     // published, by the time of their release
  std::unordered_multimap<uint64_t, int32_t> index_;  // hash to published block
  int64_t next_serial_ = 0;
  uint64_t now_ = 0;  // counts releases
};

}  // namespace backlot
