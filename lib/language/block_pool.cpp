#include "language/block_pool.h"

#include <algorithm>
#include <cassert>

namespace backlot {

// FNV-1a over whole tokens, finished as in MurmurHash3, so that tables of any size spread.
uint64_t BlockPool::hash_tokens(int64_t previous, std::span<const int32_t> tokens) {
  uint64_t hash = 0xcbf29ce484222325 ^ static_cast<uint64_t>(previous);
  for (const int32_t token : tokens)
    hash = (hash ^ static_cast<uint32_t>(token)) * uint64_t{0x100000001b3};
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccd;
  return hash ^ (hash >> 33);
}

BlockPool::BlockPool(int64_t block_count, int64_t block_tokens, Hash hash)
    : block_tokens_(block_tokens), hash_(hash), blocks_(static_cast<size_t>(block_count)) {
  assert(block_count >= 0 && block_tokens > 0);
  for (int64_t block = block_count; block-- > 0;) free_.push_back(static_cast<int32_t>(block));
}

int64_t BlockPool::available() const { return static_cast<int64_t>(free_.size() + unused_.size()); }

std::optional<int32_t> BlockPool::allocate() {
  if (free_.empty()) {
    if (unused_.empty()) return std::nullopt;
    forget(unused_.begin()->second);
  }
  const int32_t block = free_.back();
  free_.pop_back();
  blocks_[block].references = 1;
  return block;
}

// Takes what nobody uses out of the index.
void BlockPool::forget(int32_t id) {
  Block& block = blocks_[id];
  unused_.erase({block.released_at, id});
  const auto [begin, end] = index_.equal_range(block.hash);
  index_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == id; }));
  block.serial = block.previous = -1;
  block.tokens.clear();
  free_.push_back(id);
}

std::optional<int32_t> BlockPool::find(int64_t previous, std::span<const int32_t> tokens) const {
  const auto [begin, end] = index_.equal_range(hash_(previous, tokens));
  for (auto entry = begin; entry != end; ++entry) {
    const Block& block = blocks_[entry->second];
    if (block.previous == previous && std::ranges::equal(block.tokens, tokens))
      return entry->second;
  }
  return std::nullopt;
}

std::vector<int32_t> BlockPool::share(std::span<const int32_t> tokens, int64_t most) {
  std::vector<int32_t> chain;
  const int64_t full = std::min(most, static_cast<int64_t>(tokens.size()) / block_tokens_);
  int64_t previous = -1;
  for (int64_t i = 0; i < full; ++i) {
    const auto id = find(previous, tokens.subspan(i * block_tokens_, block_tokens_));
    if (!id) break;
    Block& block = blocks_[*id];
    if (block.references++ == 0) unused_.erase({block.released_at, *id});
    previous = block.serial;
    chain.push_back(*id);
  }
  return chain;
}

BlockPool::Known BlockPool::known(std::span<const int32_t> tokens, int64_t most) const {
  Known known;
  const int64_t full = std::min(most, static_cast<int64_t>(tokens.size()) / block_tokens_);
  int64_t previous = -1;
  while (known.blocks < full) {
    const auto id = find(previous, tokens.subspan(known.blocks * block_tokens_, block_tokens_));
    if (!id) break;
    previous = blocks_[*id].serial;
    ++known.blocks;
    known.in_use += blocks_[*id].references > 0;
  }
  return known;
}

int32_t BlockPool::publish(std::span<const int32_t> chain, std::span<const int32_t> tokens) {
  assert(!chain.empty() && static_cast<int64_t>(tokens.size()) == block_tokens_);
  const int32_t own = chain.back();
  assert(blocks_[own].references == 1 && blocks_[own].serial == -1);
  const int64_t previous = chain.size() == 1 ? -1 : blocks_[chain[chain.size() - 2]].serial;
  assert(chain.size() == 1 || previous >= 0);
  if (const auto equal = find(previous, tokens)) {
    release({&own, 1});
    if (blocks_[*equal].references++ == 0) unused_.erase({blocks_[*equal].released_at, *equal});
    return *equal;
  }
  Block& block = blocks_[own];
  block.serial = next_serial_++;
  block.previous = previous;
  block.hash = hash_(previous, tokens);
  block.tokens.assign(tokens.begin(), tokens.end());
  index_.emplace(block.hash, own);
  return own;
}

void BlockPool::release(std::span<const int32_t> ids) {
  for (size_t i = ids.size(); i-- > 0;) {
    Block& block = blocks_[ids[i]];
    assert(block.references > 0);
    if (--block.references > 0) continue;
    if (block.serial < 0) {
      free_.push_back(ids[i]);
    } else {
      block.released_at = now_++;
      unused_.emplace(block.released_at, ids[i]);
    }
  }
}

}  // namespace backlot
