// Language models against transformers' recorded logits and continuations, alone and in company.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <map>
#include <optional>

#include "pipelines/loaded_language_model.h"
#include "support/read_safetensors.h"

namespace backlot {
namespace {

std::vector<int32_t> ids_of(const at::Tensor& tensor) {
  std::vector<int32_t> ids;
  for (const auto& id : tensor.flatten().unbind()) ids.push_back(id.item<int32_t>());
  return ids;
}

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

}  // namespace
}  // namespace backlot
