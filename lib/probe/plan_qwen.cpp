// Qwen 2.5 and Qwen3-VL. Reference: transformers/models/qwen2/modeling_qwen2.py and
// qwen3_vl/modeling_qwen3_vl.py.
#include <fmt/format.h>

#include "base/error.h"
#include "probe/operators.h"
#include "probe/plans.h"

namespace backlot {
namespace {

namespace op = operators;
using op::TokenShape;

// Published configs, as far as they decide shapes.
struct LanguageShape {
  int64_t width, layers, ff_width, vocabulary;
  op::GroupedHeads heads;
  Bias qkv_bias;
  bool normed_heads;  // queries and keys are normalised by head
};

struct VisionShape {
  int64_t width, layers, ff_width, heads;
  int64_t taps = 3;  // layers whose output joins the text besides the last
  int64_t patch = 16, patch_frames = 2, merge = 2;
};

constexpr LanguageShape qwen2_5_7b = {.width = 3584,
                                      .layers = 28,
                                      .ff_width = 18944,
                                      .vocabulary = 152064,
                                      .heads = {28, 4, 128},
                                      .qkv_bias = Bias::learned,
                                      .normed_heads = false};
constexpr LanguageShape qwen3_4b = {.width = 2560,
                                    .layers = 36,
                                    .ff_width = 9728,
                                    .vocabulary = 151936,
                                    .heads = {32, 8, 128},
                                    .qkv_bias = Bias::none,
                                    .normed_heads = true};
constexpr LanguageShape qwen3_8b = {.width = 4096,
                                    .layers = 36,
                                    .ff_width = 12288,
                                    .vocabulary = 151936,
                                    .heads = {32, 8, 128},
                                    .qkv_bias = Bias::none,
                                    .normed_heads = true};
constexpr VisionShape vision_4b = {.width = 1024, .layers = 24, .ff_width = 4096, .heads = 16};
constexpr VisionShape vision_8b = {.width = 1152, .layers = 27, .ff_width = 4304, .heads = 16};

constexpr int64_t prompt_tokens = 512;

// `tokens` new ones a row, at the end of `context`.
void plan_language(KernelPlan& plan, const char* network, const LanguageShape& model, int64_t batch,
                   int64_t tokens, int64_t context) {
  const auto& heads = model.heads;
  const TokenShape x = {batch, tokens, model.width};
  const int64_t q = heads.heads * heads.width, kv = heads.key_heads * heads.width;
  plan.add(network, op::rms_norm(x), 2 * model.layers + 1);
  plan.add(network, op::linear("linear_qkv", x, q + 2 * kv, model.qkv_bias), model.layers);
  if (model.normed_heads) {
    plan.add(network, op::rms_norm({batch, tokens * heads.heads, heads.width}), model.layers);
    plan.add(network, op::rms_norm({batch, tokens * heads.key_heads, heads.width}), model.layers);
  }
  plan.add(network, op::grouped_attention(batch, tokens, context, heads), model.layers);
  plan.add(network, op::linear("linear_out", {batch, tokens, q}, model.width, Bias::none),
           model.layers);
  plan.add(network, op::linear("linear_ff_in", x, 2 * model.ff_width, Bias::none), model.layers);
  plan.add(network, op::gated(op::Gate::silu, {batch, tokens, 2 * model.ff_width}), model.layers);
  plan.add(network,
           op::linear("linear_ff_out", {batch, tokens, model.ff_width}, model.width, Bias::none),
           model.layers);
  plan.add(network, op::add(x), 2 * model.layers);
  // Only the last token's successor is asked for.
  plan.add(network,
           op::linear("linear_words", {batch, 1, model.width}, model.vocabulary, Bias::none));
}

// Returns the picture's tokens in the prompt.
int64_t plan_vision(KernelPlan& plan, const VisionShape& model, int64_t out, const PlanSize& size) {
  const int64_t pixels = model.patch * model.merge;
  if (size.width % pixels != 0 || size.height % pixels != 0)
    throw UsageError(fmt::format("{}x{}", size.width, size.height),
                     "not the size of a picture that this architecture reads",
                     fmt::format("give width and height as multiples of {}", pixels));
  const char* network = "vision";
  const int64_t c = model.width, merged = c * model.merge * model.merge;
  const int64_t patches = (size.width / model.patch) * (size.height / model.patch);
  const int64_t tokens = patches / (model.merge * model.merge);
  const TokenShape x = {size.batch, patches, c}, wide = {size.batch, patches, model.ff_width};
  const TokenShape groups = {size.batch, tokens, merged};
  const int64_t patch_values = 3 * model.patch_frames * model.patch * model.patch;
  plan.add(network, op::linear("linear_patches", {size.batch, patches, patch_values}, c));
  plan.add(network, op::layer_norm(x), 2 * model.layers + 1);
  plan.add(network, op::linear("linear_qkv", x, 3 * c), model.layers);
  plan.add(network, op::self_attention(x, model.heads), model.layers);
  plan.add(network, op::linear("linear_out", x, c), model.layers);
  plan.add(network, op::linear("linear_ff_in", x, model.ff_width), model.layers);
  plan.add(network, op::activation(op::Activation::gelu_tanh, wide), model.layers);
  plan.add(network, op::linear("linear_ff_out", wide, c), model.layers);
  plan.add(network, op::add(x), 2 * model.layers);
  plan.add(network, op::layer_norm(groups), model.taps);
  plan.add(network, op::linear("linear_merge_in", groups, merged), model.taps + 1);
  plan.add(network, op::activation(op::Activation::gelu, groups), model.taps + 1);
  plan.add(network, op::linear("linear_merge_out", groups, out), model.taps + 1);
  return tokens;
}

}  // namespace

std::vector<Kernel> plan_qwen(std::string_view name, const PlanSize& size) {
  const bool small = name == "qwen3-vl-4b";
  const LanguageShape& language = name == "qwen2.5-7b" ? qwen2_5_7b : small ? qwen3_4b : qwen3_8b;
  KernelPlan plan;
  int64_t prompt = prompt_tokens;
  if (name != "qwen2.5-7b")
    prompt += plan_vision(plan, small ? vision_4b : vision_8b, language.width, size);
  plan_language(plan, "language.prefill", language, size.batch, prompt, prompt);
  plan_language(plan, "language.decode", language, size.batch, 1, prompt + 1);
  return plan.take();
}

}  // namespace backlot
