#include "kernels/paged_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"
#include "kernels/made_values.h"

namespace backlot::kernels {
namespace {

// One sequence: its keys and values as they were written, and its blocks.
struct Sequence {
  int64_t tokens;
  std::vector<float> k, v;  // [tokens, kv_heads, head_dim]
  std::vector<int32_t> blocks;
};

// A cache whose blocks are handed out in no order, full of NaN where nothing was written.
struct World {
  World(const PagedShape& shape, int64_t blocks, MadeValues& made) : shape(shape), made(made) {
    keys.assign(blocks * shape.block_bytes(), std::byte{0xff});
    values = keys;
    for (int64_t i = 0; i < blocks; ++i) free.push_back(static_cast<int32_t>(i));
    for (int64_t i = blocks - 1; i > 0; --i) std::swap(free[i], free[made.whole(i + 1)]);
  }

  PagedCache cache() { return {keys.data(), values.data()}; }
  int64_t row() const { return shape.kv_heads * shape.head_dim; }
  int64_t width() const { return shape.heads * shape.head_dim; }

  // Begins like `other` for its first `shared` blocks.
  Sequence sequence(int64_t tokens, const Sequence* other = nullptr, int64_t shared = 0) {
    Sequence made_one{tokens, made.reals(tokens * row(), -2, 2), made.reals(tokens * row())};
    for (int64_t i = 0; i * shape.block_tokens < tokens; ++i) {
      made_one.blocks.push_back(i < shared ? other->blocks[i] : free.back());
      if (i >= shared) free.pop_back();
    }
    const int64_t from = shared * shape.block_tokens;
    if (other) {
      std::copy_n(other->k.begin(), from * row(), made_one.k.begin());
      std::copy_n(other->v.begin(), from * row(), made_one.v.begin());
    }
    write_kv(shape, cache(), &made_one.k[from * row()], &made_one.v[from * row()], row(),
             made_one.blocks.data(), from, tokens - from);
    return made_one;
  }

  std::vector<float> attend(const std::vector<float>& q, const std::vector<PagedToken>& tokens,
                            int64_t at_once, Isa isa) {
    std::vector<float> out(q.size(), NAN);
    const int64_t count = static_cast<int64_t>(tokens.size());
    for (int64_t t = 0; t < count; t += at_once) {
      for (int64_t head = 0; head < shape.kv_heads; ++head) {
        attend_paged(shape, cache(), {q.data(), width(), out.data(), width(), tokens.data()}, t,
                     std::min(count, t + at_once), head, head + 1, isa);
      }
    }
    return out;
  }

  PagedShape shape;
  MadeValues& made;
  std::vector<std::byte> keys, values;
  std::vector<int32_t> free;
};

float kept(KvType type, float x) {
  return type == KvType::float32 ? x : from_bfloat16(to_bfloat16(x));
}

float rounded(float x) { return from_bfloat16(to_bfloat16(x)); }

// One head of one token in double precision, [head_dim]; with rounded_dots of rounded queries.
std::vector<double> expected(const PagedShape& shape, const Sequence& sequence, const float* q,
                             int64_t position, int64_t kv_head) {
  std::vector<double> weights, out(shape.head_dim, 0.0);
  double sum = 0;
  const auto at = [&](int64_t t) { return (t * shape.kv_heads + kv_head) * shape.head_dim; };
  for (int64_t t = 0; t <= position; ++t) {
    double score = 0;
    for (int64_t d = 0; d < shape.head_dim; ++d) {
      const double asked =
          shape.rounded_dots ? rounded(q[d] * shape.scale) : double{q[d]} * shape.scale;
      score += asked * kept(shape.type, sequence.k[at(t) + d]);
    }
    weights.push_back(std::exp(score));
    sum += weights.back();
  }
  for (int64_t t = 0; t <= position; ++t) {
    for (int64_t d = 0; d < shape.head_dim; ++d) {
      out[d] += weights[t] / sum * kept(shape.type, sequence.v[at(t) + d]);
    }
  }
  return out;
}

PagedShape shape_of(int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t block_tokens,
                    KvType type) {
  return {heads,        kv_heads, head_dim,
          block_tokens, type,     1 / std::sqrt(static_cast<float>(head_dim))};
}

std::vector<PagedShape> shapes() {
  std::vector<PagedShape> all;
  for (const auto type : {KvType::bfloat16, KvType::float32}) {
    for (const int64_t head_dim : {16, 48, 64, 80, 96, 128, 20, 2}) {
      all.push_back(shape_of(9, 3, head_dim, 16, type));
    }
    all.push_back(shape_of(14, 2, 64, 32, type));
    all.push_back(shape_of(4, 4, 64, 64, type));
    all.push_back(shape_of(7, 1, 64, 128, type));
    all.push_back(shape_of(60, 1, 32, 16, type));
  }
  if (!has_bfloat16_dot()) return all;
  for (size_t i = 0, count = all.size(); i < count; ++i) {
    auto shape = all[i];
    shape.rounded_dots = shape.type == KvType::bfloat16 && shape.head_dim % 16 == 0;
    if (shape.rounded_dots) all.push_back(shape);
  }
  return all;
}

std::string describe(const PagedShape& shape) {
  return std::to_string(shape.heads) + "/" + std::to_string(shape.kv_heads) + " heads of " +
         std::to_string(shape.head_dim) + ", blocks of " + std::to_string(shape.block_tokens) +
         (shape.type == KvType::float32 ? ", float32" : ", bfloat16") +
         (shape.rounded_dots ? ", rounded" : "");
}

class PagedAttention : public testing::TestWithParam<Isa> {
 protected:
  MadeValues made;
};

std::vector<PagedToken> tokens_of(const Sequence& sequence, int64_t from = 0) {
  std::vector<PagedToken> tokens;
  for (int64_t t = from; t < sequence.tokens; ++t) tokens.push_back({t, sequence.blocks.data()});
  return tokens;
}

TEST_P(PagedAttention, AgreesWithPlainLoops) {
  for (const auto& shape : shapes()) {
    SCOPED_TRACE(describe(shape));
    // A weight is off by at most half a last place of bfloat16, and so is their sum; values are at
    // most one.
    const double near = shape.rounded_dots ? 0x1p-8 : 2e-6;
    for (const int64_t count : {1, 15, 64, 131}) {
      World world(shape, 30, made);
      const auto sequence = world.sequence(count);
      const auto q = made.reals(count * world.width(), -3, 3);
      const auto out = world.attend(q, tokens_of(sequence), count, GetParam());
      for (int64_t t = 0; t < count; t += std::max<int64_t>(1, count / 9)) {
        for (int64_t head = 0; head < shape.heads; ++head) {
          const int64_t at = (t * shape.heads + head) * shape.head_dim;
          const auto want =
              expected(shape, sequence, &q[at], t, head / shape.queries_per_kv_head());
          for (int64_t d = 0; d < shape.head_dim; ++d) {
            ASSERT_NEAR(out[at + d], want[d], near) << "token " << t << " head " << head;
          }
        }
      }
    }
  }
}

TEST_P(PagedAttention, ATokenIsTheSameInAnyCompany) {
  for (const auto& shape : shapes()) {
    SCOPED_TRACE(describe(shape));
    World world(shape, 30, made);
    const auto sequence = world.sequence(150);
    const auto q = made.reals(150 * world.width(), -3, 3);
    const auto whole = world.attend(q, tokens_of(sequence), 150, GetParam());
    for (const int64_t at_once : {1, 7, 64}) {
      ASSERT_EQ(world.attend(q, tokens_of(sequence), at_once, GetParam()), whole) << at_once;
    }
  }
}

// Later tokens in the cache are not seen: a prompt in parts gives what it gives whole.
TEST_P(PagedAttention, IsCausal) {
  for (const auto& shape : shapes()) {
    SCOPED_TRACE(describe(shape));
    World world(shape, 10, made);
    auto sequence = world.sequence(100);
    const auto q = made.reals(world.width(), -3, 3);
    const std::vector<PagedToken> token{{70, sequence.blocks.data()}};
    const auto before = world.attend(q, token, 1, GetParam());
    const std::vector<float> other(29 * world.row(), NAN);
    write_kv(shape, world.cache(), other.data(), other.data(), world.row(), sequence.blocks.data(),
             71, 29);
    EXPECT_EQ(world.attend(q, token, 1, GetParam()), before);
  }
}

// Sequences that begin alike, side by side, and one that shares nothing between them.
TEST_P(PagedAttention, SharedBeginningsChangeNothing) {
  for (const auto& shape : shapes()) {
    SCOPED_TRACE(describe(shape));
    World world(shape, 100, made);
    const auto first = world.sequence(230);
    const int64_t shared = std::max<int64_t>(1, 144 / shape.block_tokens);
    const auto second = world.sequence(201, &first, shared);
    const auto third = world.sequence(shared * shape.block_tokens + 1, &second, shared);
    const auto alone = world.sequence(77);
    std::vector<PagedToken> tokens;
    for (const auto* each : {&first, &second, &third, &alone, &second}) {
      tokens.push_back({each->tokens - 1, each->blocks.data()});
    }
    // And a run of several tokens of one of them.
    for (const auto& token : tokens_of(third, third.tokens - 5)) tokens.push_back(token);
    const auto q = made.reals(tokens.size() * world.width(), -3, 3);
    EXPECT_EQ(world.attend(q, tokens, tokens.size(), GetParam()),
              world.attend(q, tokens, 1, GetParam()));
  }
}

// Scores far apart: the online softmax neither overflows nor loses what counts.
TEST_P(PagedAttention, LargeScores) {
  auto shape = shape_of(2, 1, 64, 16, KvType::float32);
  shape.scale = 20;
  World world(shape, 20, made);
  const auto sequence = world.sequence(200);
  const auto q = made.reals(200 * world.width(), -3, 3);
  for (const float x : world.attend(q, tokens_of(sequence), 200, GetParam())) {
    ASSERT_TRUE(std::abs(x) <= 1.0001f) << x;
  }
}

TEST_P(PagedAttention, ReadsAndWritesWithStrides) {
  const auto shape = shape_of(4, 2, 32, 16, KvType::bfloat16);
  World world(shape, 10, made);
  const auto sequence = world.sequence(40);
  const auto tokens = tokens_of(sequence);
  const auto q = made.reals(40 * world.width());
  const int64_t wide = world.width() + 24;
  std::vector<float> from(40 * wide, NAN), to(40 * wide, -7.0f);
  for (int64_t t = 0; t < 40; ++t) {
    std::copy_n(&q[t * world.width()], world.width(), &from[t * wide]);
  }
  attend_paged(shape, world.cache(), {from.data(), wide, to.data(), wide, tokens.data()}, 0, 40, 0,
               2, GetParam());
  const auto out = world.attend(q, tokens, 40, GetParam());
  for (int64_t t = 0; t < 40; ++t) {
    EXPECT_TRUE(std::equal(&out[t * world.width()], &out[(t + 1) * world.width()], &to[t * wide]));
    EXPECT_EQ(to[t * wide + world.width()], -7.0f);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, PagedAttention,
                         testing::ValuesIn(supported_isas().begin(), supported_isas().end()),
                         [](const auto& each) { return name(each.param); });

}  // namespace
}  // namespace backlot::kernels
