// Packed language models and GGUFs against the same numbers in float32.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "base/error.h"
#include "pipelines/loaded_language_model.h"
#include "support/temporary_folder.h"
#include "support/tiny_language_model.h"

namespace backlot {
namespace {

// --- packed weights

std::vector<int32_t> some_tokens(int64_t count, unsigned seed, int64_t vocabulary) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (auto& token : tokens) token = static_cast<int32_t>(random() % vocabulary);
  return tokens;
}

// The logits of each of 24 tokens, one after the other.
Logits course(LanguageModelOptions options) {
  Loaded model(std::move(options));
  auto sequence = model.sequence(some_tokens(24, 5, model->vocabulary_size()), 0);
  Logits all;
  while (sequence.computed < std::ssize(sequence.tokens)) {
    const auto logits = model.next(sequence, 1);
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

// The error's root mean square, as a share of the logits' own.
double relative_error(const Logits& got, const Logits& wanted) {
  EXPECT_EQ(got.size(), wanted.size());
  double error = 0, power = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    error += std::pow(static_cast<double>(got[i]) - wanted[i], 2);
    power += std::pow(wanted[i], 2);
  }
  return std::sqrt(error / power);
}

// Codes of 8 bits for weights and activations; 4 bits cost ten times as much. What a wrong row or
// bias costs in the models here is in PackedModelMistakes.
constexpr double int8_error = 0.04, int4_error = 0.40;

class PackedModel : public ::testing::TestWithParam<std::string> {
 protected:
  PackedModel() { made_.architecture = GetParam(); }

  Logits of_folder(Precision precision, WeightPacking packing) {
    made_.write_folder(folder_ / "model");
    return course({.model = folder_ / "model", .precision = precision, .packing = packing});
  }
  Logits exact() { return of_folder(Precision::float32, WeightPacking::none); }

  TemporaryFolder folder_;
  TinyLanguageModel made_;
};

TEST_P(PackedModel, IsNearFloat32) {
  for (const bool more : {false, true}) {
    made_.tied = !more;
    made_.biased = more && GetParam() == "llama";
    made_.draw();
    const auto wanted = exact();
    const double int8 =
        relative_error(of_folder(Precision::automatic, WeightPacking::int8), wanted);
    const double int4 =
        relative_error(of_folder(Precision::automatic, WeightPacking::int4), wanted);
    RecordProperty("int8", std::to_string(int8));
    RecordProperty("int4", std::to_string(int4));
    EXPECT_LT(int8, int8_error);
    EXPECT_LT(int4, int4_error);
    EXPECT_GT(int4, 2 * int8) << "were they packed in 8 bits?";
  }
}

// Each of these mistakes in one layer of one kind is farther from the true logits than the
// tolerance above.
class PackedModelMistakes : public PackedModel {
 protected:
  void draw() {
    made_.draw();
    wanted_ = exact();
    right_ = made_.tensors;
  }
  void expect_noticed(const std::string& what) {
    EXPECT_GT(relative_error(exact(), wanted_), 2 * int8_error) << what;
    made_.tensors = right_;
  }

  Logits wanted_;
  decltype(made_.tensors) right_;
};

TEST_P(PackedModelMistakes, InMatricesWouldBeNoticed) {
  draw();
  for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                           "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    auto& tensor = made_.tensors.at("model.layers.1." + std::string(name) + ".weight");
    const int64_t width = tensor.shape[1];
    // 8 rows in another order: what a mistake in the layout of a panel would do.
    std::rotate(tensor.values.begin(), tensor.values.begin() + width,
                tensor.values.begin() + 8 * width);
    expect_noticed(name);
  }
  made_.rope_theta = 1e5;
  expect_noticed("rope");
}

// Those of Qwen2, and all that a Llama model may have. (That of the keys does nothing: it adds the
// same to all of a query's scores, but for their turning.)
TEST_P(PackedModelMistakes, LostBiasesWouldBeNoticed) {
  made_.biased = GetParam() == "llama";
  draw();
  std::vector<std::string> names = {"self_attn.q_proj", "self_attn.v_proj"};
  if (made_.biased)
    names.insert(names.end(),
                 {"self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"});
  for (const auto& name : names) {
    std::ranges::fill(made_.tensors.at("model.layers.0." + name + ".bias").values, 0.0F);
    expect_noticed(name);
  }
}

TEST_P(PackedModel, HasTheSameBitsInCompany) {
  made_.draw();
  made_.write_folder(folder_ / "model");
  for (const auto packing : {WeightPacking::int8, WeightPacking::int4}) {
    Loaded model({.model = folder_ / "model", .packing = packing});
    std::vector<Sequence> together;
    std::vector<Logits> alone;
    const std::vector<int64_t> lengths = {1, 40, 7, 33, 64, 2};
    for (size_t i = 0; i < lengths.size(); ++i) {
      const auto tokens = some_tokens(lengths[i], static_cast<unsigned>(i), made_.vocabulary);
      auto single = model.sequence(tokens, 0);
      alone.push_back(model.rest(single));
      together.push_back(model.sequence(tokens, 0));
    }
    const int64_t vocabulary = model->vocabulary_size();
    std::vector<TokenRun> runs;
    for (size_t i = 0; i < together.size(); ++i)
      runs.push_back(Loaded::run_of(together[i], lengths[i],
                                    i == 2  ? Wanted::nothing
                                    : i % 2 ? Wanted::best
                                            : Wanted::logits));
    const auto result = model->forward(runs);
    ASSERT_EQ(std::ssize(result.logits), 2 * vocabulary);
    ASSERT_EQ(result.best.size(), 3u);
    size_t row = 0, best = 0;
    for (size_t i = 0; i < together.size(); ++i) {
      if (runs[i].wanted == Wanted::best) {
        EXPECT_EQ(result.best[best++], largest(alone[i])) << i;
      }
      if (runs[i].wanted != Wanted::logits) continue;
      const auto logits = result.logits.subspan(row++ * vocabulary, vocabulary);
      EXPECT_TRUE(std::ranges::equal(logits, alone[i])) << i;
    }
    // And in parts.
    auto parts = model.sequence(together[1].tokens, 0);
    model.next(parts, 13);
    model.next(parts, 1);
    EXPECT_EQ(model.rest(parts), alone[1]);
  }
}

// A weight that is no number: no token can be the best.
TEST_P(PackedModel, SaysWhereLogitsAreNoNumbers) {
  made_.draw();
  made_.tensors.at("model.layers.1.mlp.down_proj.weight").values[5] = NAN;
  made_.write_folder(folder_ / "model");
  for (const auto packing : {WeightPacking::none, WeightPacking::int8, WeightPacking::int4}) {
    Loaded model(
        {.model = folder_ / "model",
         .precision = packing == WeightPacking::none ? Precision::float32 : Precision::automatic,
         .packing = packing});
    auto sequence = model.sequence({3, 4}, 0);
    const TokenRun run = Loaded::run_of(sequence, 2, Wanted::best);
    EXPECT_EQ(model->forward(std::span(&run, 1)).best[0], -1);
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, PackedModel, ::testing::Values("qwen2", "llama"),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Architectures, PackedModelMistakes, ::testing::Values("qwen2", "llama"),
                         [](const auto& info) { return info.param; });

TEST(LanguageModel, KeepsWhatIsNoNumberToItsSequence) {
  TemporaryFolder folder;
  TinyLanguageModel made;
  made.draw();
  // Token 7 and no other gives keys and values that are no numbers.
  auto& embedding = made.tensors.at("model.embed_tokens.weight").values;
  std::fill_n(embedding.begin() + 7 * made.hidden, made.hidden, INFINITY);
  made.tied = false;
  made.tensors["lm_head.weight"] = made.tensors.at("model.embed_tokens.weight");
  auto& head = made.tensors.at("lm_head.weight").values;
  std::fill_n(head.begin() + 7 * made.hidden, made.hidden, 0.5F);
  made.write_folder(folder / "model");
  Loaded model({.model = folder / "model", .precision = Precision::float32});
  std::vector<Sequence> sequences = {model.sequence({7, 7}, 0), model.sequence({3, 4}, 0),
                                     model.sequence(some_tokens(50, 1, 7), 0)};
  auto again = model.sequence({3, 4}, 0);
  const auto alone = model.rest(again);
  for (int step = 0; step < 2; ++step) {
    std::vector<TokenRun> runs;
    for (auto& each : sequences) {
      const int64_t left = std::ssize(each.tokens) - each.computed;
      runs.push_back(Loaded::run_of(each, step ? left : left - 1, Wanted::logits));
    }
    const auto result = model->forward(runs);
    for (auto& each : sequences) each.computed = std::ssize(each.tokens) - 1;
    const auto rows = [&](int64_t row) {
      return result.logits.subspan(row * made.vocabulary, made.vocabulary);
    };
    EXPECT_TRUE(std::isnan(rows(0)[0]));
    EXPECT_TRUE(std::ranges::all_of(rows(1), [](float x) { return std::isfinite(x); }));
    EXPECT_TRUE(std::ranges::all_of(rows(2), [](float x) { return std::isfinite(x); }));
    if (step) {
      EXPECT_LT(farthest(rows(1), alone), 1e-4);
    }
  }
}

// --- GGUFs

class GgufModel : public ::testing::TestWithParam<std::string> {
 protected:
  GgufModel() {
    made_.architecture = GetParam();
    made_.tied = GetParam() == "qwen2";
    made_.types = {{"embed_tokens.weight", BlockType::q8_0}, {"lm_head.weight", BlockType::q8_0},
                   {"q_proj.weight", BlockType::q4_0},       {"k_proj.weight", BlockType::q8_0},
                   {"v_proj.weight", BlockType::f16},        {"o_proj.weight", BlockType::q4_1},
                   {"gate_proj.weight", BlockType::q4_0},    {"up_proj.weight", BlockType::q8_0},
                   {"down_proj.weight", BlockType::q6_k}};
    made_.draw();
    made_.write_folder(folder_ / "folder");
    made_.write_gguf(folder_ / "model.gguf");
  }
  LanguageModelOptions gguf(Precision precision = Precision::automatic) const {
    return {.model = folder_ / "model.gguf", .precision = precision};
  }
  Logits exact() const {
    return course({.model = folder_ / "folder", .precision = Precision::float32});
  }

  TemporaryFolder folder_;
  TinyLanguageModel made_;
};

// The folder's rows of q and k were put in order by the test, the GGUF's by backlot.
TEST_P(GgufModel, IsTheSameAsItsFolderInFloat32) {
  EXPECT_LT(farthest(course(gguf(Precision::float32)), exact()), 1e-4);
}

TEST_P(GgufModel, StaysPackedAndNear) {
  Silent silent;
  const auto model = load_language_model(gguf(), at::kCPU, silent);
  EXPECT_EQ(model->dtype(), "Q8_0");
  uint64_t wide = 0;
  for (const auto& [name, tensor] : made_.tensors) wide += tensor.values.size() * sizeof(float);
  EXPECT_LT(model->weight_bytes(), wide / 2);
  EXPECT_LT(relative_error(course(gguf()), exact()), int8_error);
}

TEST_P(GgufModel, HasTheSameBitsInCompany) {
  Loaded model(gguf());
  auto one = model.sequence(some_tokens(37, 1, made_.vocabulary), 0);
  const auto alone = model.rest(one);
  auto same = model.sequence(one.tokens, 0);
  auto other = model.sequence(some_tokens(50, 2, made_.vocabulary), 0);
  const std::vector<TokenRun> runs = {Loaded::run_of(other, 50, Wanted::nothing),
                                      Loaded::run_of(same, 37, Wanted::logits)};
  const auto result = model->forward(runs);
  EXPECT_TRUE(std::ranges::equal(result.logits, alone));
}

INSTANTIATE_TEST_SUITE_P(Architectures, GgufModel, ::testing::Values("qwen2", "llama"),
                         [](const auto& info) { return info.param; });

// Rows that can't be packed anew are no reason to refuse a file that nobody asked to pack.
TEST(LanguageModel, UnpacksWhatCannotStayPacked) {
  TemporaryFolder folder;
  TinyLanguageModel made;
  made.hidden = 48;
  made.types = {{"down_proj.weight", BlockType::q8_0}};
  made.draw();
  made.write_gguf(folder / "model.gguf");
  Silent silent;
  const auto model = load_language_model({.model = folder / "model.gguf"}, at::kCPU, silent);
  EXPECT_TRUE(model->dtype() == "float32" || model->dtype() == "bfloat16") << model->dtype();
  try {
    load_language_model({.model = folder / "model.gguf", .packing = WeightPacking::int8}, at::kCPU,
                        silent);
    FAIL() << "48 is no multiple of 32";
  } catch (const LoadError& error) {
    EXPECT_NE(std::string(error.what()).find("rows of 48 numbers"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("--quantize none"), std::string::npos);
  }
}

}  // namespace
}  // namespace backlot
