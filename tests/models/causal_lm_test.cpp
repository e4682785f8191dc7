// Language models against transformers: logits and greedy continuations of tiny random models.
#include "models/causal_lm.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "pipelines/token_places.h"
#include "support/read_safetensors.h"

namespace backlot {
namespace {

DecoderConfig tiny() {
  DecoderConfig c;
  c.architecture = "Qwen2ForCausalLM";
  c.vocab_size = 2304; c.hidden_size = 48; c.intermediate_size = 96; c.num_hidden_layers = 3;
  c.num_attention_heads = 4; c.num_key_value_heads = 2; c.head_dim = 12; c.max_position_embeddings = 2048;
  c.rms_norm_eps = 1e-6; c.rope_theta = 1e6; c.tie_word_embeddings = true; c.qkv_bias = true;
  return c;
}

TEST(CausalLm, GivesTheReferencesLogits) {
  const std::string dir = BACKLOT_TEST_DATA "/oracles/qwen2.5";
  const auto want = read_safetensors(dir + "/expected/tensors.safetensors");
  const auto config = tiny();
  const auto checkpoint = Checkpoint::open(dir + "/model", "model");
  Binding binding(checkpoint, at::kFloat, at::kCPU);
  const CausalLM model(binding.root(), config, 256);
  binding.finish();
  PagedCache cache(config, 8, 32, at::TensorOptions(at::kFloat));
  const auto ids = want.at("p0.input_ids").flatten();
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < ids.size(0); ++i) tokens.push_back(ids[i].item<int32_t>());
  const std::vector<int32_t> blocks = {5, 2, 7, 1};
  TokenRun run{.tokens = tokens, .position = 0, .blocks = blocks};
  auto pass = make_token_pass(std::span(&run, 1), 32, at::kCPU);
  const auto logits = model.logits(model(pass.ids, pass.places, cache));
  std::printf("max diff %g\n", (logits - want.at("p0.logits")[0]).abs().max().item<double>());
  EXPECT_LE((logits - want.at("p0.logits")[0]).abs().max().item<double>(), 0.00041);
}

}  // namespace
}  // namespace backlot
