#include "language/block_pool.h"

#include <gtest/gtest.h>

#include <numeric>

namespace backlot {
namespace {

std::vector<int32_t> count_from(int32_t first, size_t count) {
  std::vector<int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// Allocates, writes and publishes all full blocks of `tokens`.
std::vector<int32_t> fill(BlockPool& pool, std::span<const int32_t> tokens) {
  const auto size = static_cast<size_t>(pool.block_tokens());
  std::vector<int32_t> chain;
  for (size_t i = 0; (i + 1) * size <= tokens.size(); ++i) {
    chain.push_back(pool.allocate().value());
    chain.back() = pool.publish(chain, tokens.subspan(i * size, size));
  }
  return chain;
}

TEST(BlockPool, GivesEachBlockOnce) {
  BlockPool pool(3, 4);
  EXPECT_EQ(pool.blocks_for(8), 2);
  EXPECT_EQ(pool.blocks_for(9), 3);
  std::vector<int32_t> blocks;
  while (const auto block = pool.allocate()) blocks.push_back(*block);
  EXPECT_EQ(blocks, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(pool.available(), 0);
  pool.release(std::span(blocks).first(2));
  EXPECT_EQ(pool.available(), 2);
}

TEST(BlockPool, FindsTheLongestKnownBeginning) {
  BlockPool pool(8, 4);
  const auto tokens = count_from(0, 12);
  const auto chain = fill(pool, tokens);
  EXPECT_EQ(pool.share(tokens, 9), chain);
  EXPECT_EQ(pool.share(tokens, 2), std::vector(chain.begin(), chain.begin() + 2));
  auto other = tokens;
  other[9] = 99;
  EXPECT_EQ(pool.share(other, 9).size(), 2u);
  other[0] = 99;  // the second block has the same tokens, after another beginning
  EXPECT_TRUE(pool.share(other, 9).empty());
  EXPECT_TRUE(pool.share(std::span(tokens).first(3), 9).empty());
}

TEST(BlockPool, TellsTokensOfOneHashApart) {
  BlockPool pool(8, 2, [](int64_t, std::span<const int32_t>) { return uint64_t{1}; });
  const auto a = fill(pool, count_from(0, 4)), b = fill(pool, count_from(10, 4));
  EXPECT_EQ(pool.share(count_from(0, 4), 2), a);
  EXPECT_EQ(pool.share(count_from(10, 4), 2), b);
  EXPECT_TRUE(pool.share(count_from(2, 2), 2).empty());  // a's second block is no beginning
  const std::vector<int32_t> mixed = {0, 1, 12, 13};
  EXPECT_EQ(pool.share(mixed, 2), std::vector{a[0]});
}

TEST(BlockPool, KeepsUnusedBlocksUntilRoomIsNeeded) {
  BlockPool pool(4, 2);
  const auto first = count_from(0, 4), second = count_from(10, 4);
  const auto a = fill(pool, first), b = fill(pool, second);
  pool.release(a);
  pool.release(b);
  EXPECT_EQ(pool.available(), 4);
  const auto known = pool.known(first, 9);
  EXPECT_EQ(known.blocks, 2);
  EXPECT_EQ(known.in_use, 0);
  const auto again = pool.share(first, 9);  // now b is what was used longest ago
  EXPECT_EQ(again, a);
  EXPECT_EQ(pool.known(first, 9).in_use, 2);
  EXPECT_EQ(pool.allocate(), b[1]);  // ends go before beginnings
  EXPECT_EQ(pool.known(second, 9).blocks, 1);
  EXPECT_EQ(pool.allocate(), b[0]);
  EXPECT_EQ(pool.known(second, 9).blocks, 0);
  EXPECT_EQ(pool.allocate(), std::nullopt);
}

TEST(BlockPool, JoinsEqualBlocks) {
  BlockPool pool(4, 2);
  const auto tokens = count_from(0, 2);
  const auto a = fill(pool, tokens), b = fill(pool, tokens);
  EXPECT_EQ(a, b);
  EXPECT_EQ(pool.available(), 3);
  pool.release(a);
  EXPECT_EQ(pool.available(), 3);
  pool.release(b);
  EXPECT_EQ(pool.available(), 4);
}

// A block that is taken for other tokens is no beginning of what came after the old ones.
TEST(BlockPool, DoesNotMistakeANewBlockForTheOldOne) {
  BlockPool pool(2, 2);
  const std::vector<int32_t> tokens = {1, 2, 3, 4}, other = {5, 6};
  const auto chain = fill(pool, tokens);
  pool.release(std::span(chain).subspan(0, 1));
  const auto taken = pool.allocate();  // the second is still in use
  ASSERT_EQ(taken, chain[0]);
  pool.publish(std::span(chain).first(1), other);
  const std::vector<int32_t> wrong = {5, 6, 3, 4};
  EXPECT_EQ(pool.share(wrong, 2), std::vector{chain[0]});
}

}  // namespace
}  // namespace backlot
