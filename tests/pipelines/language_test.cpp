// Language models against transformers' recorded logits and continuations, alone and in company;
// packed ones and GGUFs against the same numbers in float32.
#include "pipelines/language.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/error.h"
#include "pipelines/oracle_case.h"
#include "support/read_safetensors.h"
#include "support/temporary_folder.h"
#include "support/tiny_language_model.h"

namespace backlot {
namespace {

using Wanted = TokenRun::Wanted;
using Logits = std::vector<float>;

// A sequence that grows, in blocks that nobody else has.
struct Sequence {
  std::vector<int32_t> tokens, blocks;
  int64_t computed = 0;
};

class Loaded {
 public:
  explicit Loaded(LanguageModelOptions options) {
    Silent silent;
    if (options.cache_tokens == 0) options.cache_tokens = 2048;
    model_ = load_language_model(options, at::kCPU, silent);
    free_.resize(model_->block_count());
    std::iota(free_.begin(), free_.end(), 0);
    std::shuffle(free_.begin(), free_.end(), std::mt19937(7));  // no sequence's blocks are in order
  }

  LanguageModel& operator*() { return *model_; }
  LanguageModel* operator->() { return model_.get(); }

  Sequence sequence(std::vector<int32_t> tokens, int64_t room) {
    Sequence made{std::move(tokens), {}};
    const auto blocks =
        (std::ssize(made.tokens) + room + model_->block_tokens() - 1) / model_->block_tokens();
    EXPECT_LE(blocks, std::ssize(free_));
    made.blocks.assign(free_.end() - blocks, free_.end());
    free_.resize(free_.size() - blocks);
    return made;
  }

  // The logits after the next `count` tokens of one sequence.
  Logits next(Sequence& of, int64_t count) {
    const TokenRun run = run_of(of, count, Wanted::logits);
    of.computed += count;
    const auto result = model_->forward(std::span(&run, 1));
    return {result.logits.begin(), result.logits.end()};
  }
  Logits rest(Sequence& of) { return next(of, std::ssize(of.tokens) - of.computed); }

  static TokenRun run_of(const Sequence& of, int64_t count, Wanted wanted) {
    return {.tokens = std::span(of.tokens).subspan(of.computed, count),
            .position = of.computed,
            .blocks = of.blocks,
            .wanted = wanted};
  }

 private:
  std::unique_ptr<LanguageModel> model_;
  std::vector<int32_t> free_;
};

int32_t largest(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

double farthest(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double off = std::abs(static_cast<double>(a[i]) - b[i]);
    most = std::isnan(off) ? INFINITY : std::max(most, off);
  }
  return most;
}

std::vector<int32_t> ids_of(const at::Tensor& tensor) {
  std::vector<int32_t> ids;
  for (const auto& id : tensor.flatten().unbind()) ids.push_back(id.item<int32_t>());
  return ids;
}

// --- transformers' records

struct Oracle {
  explicit Oracle(const std::string& name)
      : folder(oracles() + "/" + name),
        recorded(oracle_json(name)),
        tensors(read_safetensors(folder + "/expected/tensors.safetensors")) {
    while (tensors.contains(key(std::ssize(prompts), "input_ids")))
      prompts.push_back(ids_of(tensors.at(key(std::ssize(prompts), "input_ids"))));
  }

  static std::string key(int64_t prompt, const std::string& what) {
    return fmt::format("p{}.{}", prompt, what);
  }
  LanguageModelOptions options() const {
    return {.model = folder + "/model", .precision = Precision::float32};
  }
  // Of the token at `place` of a prompt, if it was recorded.
  std::optional<Logits> logits(size_t prompt, int64_t place) const {
    const auto last = tensors.find(key(prompt, "logits_last"));
    if (last != tensors.end() && place + 1 == std::ssize(prompts[prompt]))
      return values(last->second.flatten());
    const auto all = tensors.find(key(prompt, "logits"));
    if (all == tensors.end()) return std::nullopt;
    return values(all->second[0][place]);
  }
  double tolerance(size_t prompt) const {
    const auto& all = recorded.at("tolerance").at("tensor_max_abs");
    const std::string last = key(prompt, "logits_last");
    return all.at(all.contains(last) ? last : key(prompt, "logits"));
  }
  double step_tolerance(size_t prompt) const {
    return recorded.at("tolerance").at("tensor_max_abs").at(key(prompt, "step_logits_top8"));
  }

  static Logits values(const at::Tensor& tensor) {
    const auto contiguous = tensor.contiguous();
    return {contiguous.const_data_ptr<float>(),
            contiguous.const_data_ptr<float>() + contiguous.numel()};
  }

  std::string folder;
  Json recorded;
  std::map<std::string, at::Tensor> tensors;
  std::vector<std::vector<int32_t>> prompts;
};

class LanguageOracle : public ::testing::TestWithParam<std::string> {
 protected:
  // On a busy machine, threads of models so small would wait for each other most of the time.
  void SetUp() override { at::set_num_threads(1); }
  void TearDown() override { at::set_num_threads(threads_); }

  const int threads_ = at::get_num_threads();
  Oracle oracle_{GetParam()};
  Loaded model_{oracle_.options()};
};

TEST_P(LanguageOracle, GivesTheRecordedLogits) {
  ASSERT_GE(oracle_.prompts.size(), 4u);
  for (size_t p = 0; p < oracle_.prompts.size(); ++p) {
    auto sequence = model_.sequence(oracle_.prompts[p], 0);
    const auto last = oracle_.logits(p, std::ssize(sequence.tokens) - 1);
    ASSERT_TRUE(last);
    EXPECT_LE(farthest(model_.rest(sequence), *last), oracle_.tolerance(p)) << p;
  }
}

TEST_P(LanguageOracle, GivesThemTokenByToken) {
  int64_t compared = 0;
  for (size_t p = 0; p < oracle_.prompts.size(); ++p) {
    auto sequence = model_.sequence(oracle_.prompts[p], 0);
    for (int64_t place = 0; place < std::ssize(sequence.tokens); ++place) {
      const auto logits = model_.next(sequence, 1);
      const auto recorded = oracle_.logits(p, place);
      if (!recorded) continue;
      ++compared;
      EXPECT_LE(farthest(logits, *recorded), oracle_.tolerance(p)) << p << " at " << place;
    }
  }
  EXPECT_GT(compared, std::ssize(oracle_.prompts));
}

TEST_P(LanguageOracle, GivesThemInPartsOfAnySize) {
  for (const int64_t part : {5, 32, 47}) {
    Loaded model(oracle_.options());
    for (size_t p = 0; p < oracle_.prompts.size(); ++p) {
      auto sequence = model.sequence(oracle_.prompts[p], 0);
      const int64_t length = std::ssize(sequence.tokens);
      Logits logits;
      while (sequence.computed < length)
        logits = model.next(sequence, std::min(part, length - sequence.computed));
      EXPECT_LE(farthest(logits, *oracle_.logits(p, length - 1)), oracle_.tolerance(p))
          << p << " in parts of " << part;
    }
  }
}

// All prompts in one pass, then a token of each: as it was recorded of each alone. Every other one
// asks for the best token only.
TEST_P(LanguageOracle, ContinuesAllOfThemTogether) {
  std::vector<Sequence> sequences;
  std::vector<std::vector<int32_t>> generated;
  for (size_t p = 0; p < oracle_.prompts.size(); ++p) {
    generated.push_back(ids_of(oracle_.tensors.at(Oracle::key(p, "generated"))));
    sequences.push_back(model_.sequence(oracle_.prompts[p], std::ssize(generated.back())));
  }
  for (size_t step = 0; step < generated[0].size(); ++step) {
    std::vector<TokenRun> runs;
    for (size_t p = 0; p < sequences.size(); ++p)
      runs.push_back(Loaded::run_of(sequences[p],
                                    std::ssize(sequences[p].tokens) - sequences[p].computed,
                                    (p + step) % 2 ? Wanted::best : Wanted::logits));
    const auto result = model_->forward(runs);
    size_t row = 0, best = 0;
    for (size_t p = 0; p < sequences.size(); ++p) {
      int32_t token = -1;
      if (runs[p].wanted == Wanted::best) {
        token = result.best[best++];
      } else {
        const auto logits =
            result.logits.subspan(row++ * model_->vocabulary_size(), model_->vocabulary_size());
        token = largest(logits);
        const auto at_step = [&](const char* what) {
          return oracle_.tensors.at(Oracle::key(p, what))[0][static_cast<int64_t>(step)];
        };
        const auto ids = ids_of(at_step("step_logits_top8_ids"));
        const auto top = Oracle::values(at_step("step_logits_top8"));
        for (size_t i = 0; i < ids.size(); ++i)
          EXPECT_NEAR(logits[ids[i]], top[i], oracle_.step_tolerance(p)) << p << " at " << step;
      }
      EXPECT_EQ(token, generated[p][step]) << p << " at " << step;
      sequences[p].computed = std::ssize(sequences[p].tokens);
      sequences[p].tokens.push_back(generated[p][step]);
    }
    EXPECT_EQ(result.best.size(), best);
  }
}

INSTANTIATE_TEST_SUITE_P(Recorded, LanguageOracle,
                         ::testing::Values("qwen2.5", "lm-linear-old", "lm-linear-scaled",
                                           "lm-llama-bias-untied", "lm-llama-dynamic",
                                           "lm-llama-yarn-factors", "lm-llama3-scaled",
                                           "lm-qwen2-yarn"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace_if(
                               name, [](char c) { return !std::isalnum(c); }, '_');
                           return name;
                         });

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
// bias costs in the models here is in PackedModel.WouldNoticeMistakes.
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
  for (const bool tied : {true, false}) {
    made_.tied = tied;
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
TEST_P(PackedModel, WouldNoticeMistakes) {
  made_.draw();
  const auto wanted = exact();
  const auto right = made_.tensors;
  const auto off = [&](const std::string& what) {
    EXPECT_GT(relative_error(exact(), wanted), 2 * int8_error) << what;
    made_.tensors = right;
  };
  for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                           "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    auto& tensor = made_.tensors.at("model.layers.1." + std::string(name) + ".weight");
    const int64_t width = tensor.shape[1];
    // 8 rows in another order: what a mistake in the layout of a panel would do.
    std::rotate(tensor.values.begin(), tensor.values.begin() + width,
                tensor.values.begin() + 8 * width);
    off(name);
  }
  if (GetParam() == "qwen2") {
    for (const char* name : {"q", "v"}) {
      auto& tensor =
          made_.tensors.at("model.layers.0.self_attn." + std::string(name) + "_proj.bias");
      std::fill(tensor.values.begin(), tensor.values.end(), 0.0F);
      off(std::string(name) + " bias");
    }
  }
  made_.rope_theta = 1e5;
  off("rope");
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
