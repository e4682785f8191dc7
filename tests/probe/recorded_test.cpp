// The plans against what the networks call: every operator that LibTorch sees in an evaluation of a
// small model. In float64, which no layer has kernels of its own for: convolutions leave their bias
// to what follows, and linear layers their residual.
#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <map>

#include "probe/plans.h"

namespace backlot {
namespace {

struct Work {
  int64_t calls = 0;
  double flops = 0;
  bool operator==(const Work&) const = default;
};
using WorkByKind = std::map<std::string, Work>;

// One recording at a time: the callback has no room for more than a plain function.
WorkByKind* recording = nullptr;

double product_flops(const at::RecordFunction& function) {
  const std::string name = function.name();
  const auto inputs = function.inputs();
  if (name == "aten::linear")
    return 2.0 * static_cast<double>(inputs[0].toTensor().numel() * inputs[1].toTensor().size(0));
  if (name == "aten::conv2d") {
    const auto x = inputs[0].toTensor(), weight = inputs[1].toTensor();
    const auto stride = inputs[3].toIntVector(), padding = inputs[4].toIntVector();
    const auto out = [&](int axis) {
      return (x.size(2 + axis) + 2 * padding[axis] - weight.size(2 + axis)) / stride[axis] + 1;
    };
    return 2.0 * static_cast<double>(x.size(0) * out(0) * out(1) * weight.numel());
  }
  if (name == "aten::scaled_dot_product_attention") {
    const auto q = inputs[0].toTensor(), k = inputs[1].toTensor();
    const auto l = static_cast<double>(q.size(2)), t = static_cast<double>(k.size(2));
    const double meetings = inputs[5].toBool() ? l * (l + 1) / 2 : l * t;
    return 4.0 * static_cast<double>(q.size(0) * q.size(1) * q.size(3)) * meetings;
  }
  return 0;
}

std::unique_ptr<at::ObserverContext> note(const at::RecordFunction& function) {
  static const std::map<std::string, std::string> kinds = {
      {"aten::conv2d", "conv"},
      {"aten::linear", "linear"},
      {"aten::scaled_dot_product_attention", "attention"},
      {"aten::layer_norm", "layer_norm"},
      {"aten::group_norm", "group_norm"},
      {"aten::upsample_nearest2d", "upsample"},
      {"aten::gelu", "gelu"}};
  if (const auto kind = kinds.find(function.name()); kind != kinds.end()) {
    auto& work = (*recording)[kind->second];
    ++work.calls;
    work.flops += product_flops(function);
  }
  return nullptr;
}

template <class Evaluate>
WorkByKind record(Evaluate evaluate) {
  WorkByKind work;
  recording = &work;
  const auto handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(note).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  evaluate();
  at::removeCallback(handle);
  recording = nullptr;
  return work;
}

// The operators that a kernel's layer calls, the one with products first.
std::vector<std::string> kinds_of(std::string_view name) {
  const auto is = [&](std::string_view part) { return name.find(part) != name.npos; };
  if (is("/linear_geglu")) return {"linear", "gelu"};
  if (is("/upsample_conv")) return {"conv", "upsample"};
  if (is("/conv1x1") || is("/linear")) return {"linear"};
  for (const auto* kind : {"conv", "attention", "layer_norm", "group_norm"})
    if (is(kind)) return {kind};
  if (is("/gelu")) return {"gelu"};
  return {};
}

WorkByKind planned(KernelPlan plan, std::string_view network) {
  WorkByKind work;
  for (const auto& kernel : plan.take()) {
    if (!kernel.name.starts_with(network)) continue;
    const auto kinds = kinds_of(kernel.name);
    for (const auto& kind : kinds) work[kind].calls += kernel.calls;
    if (!kinds.empty())
      work[kinds.front()].flops += kernel.flops * static_cast<double>(kernel.calls);
  }
  return work;
}

void expect_same(const WorkByKind& plan, const WorkByKind& run) {
  for (const auto& [kind, work] : run) {
    ASSERT_TRUE(plan.contains(kind)) << kind;
    EXPECT_EQ(plan.at(kind).calls, work.calls) << kind;
    EXPECT_DOUBLE_EQ(plan.at(kind).flops, work.flops) << kind;
  }
  EXPECT_EQ(plan.size(), run.size());
}

class Recorded : public ::testing::Test {
 protected:
  template <class Network, class Config>
  Network network(const Config& config) const {
    return load<Network>(RandomWeights("test"), config, at::kDouble, at::kCPU);
  }

  const ModelFolder model = ModelFolder::open(BACKLOT_SOURCE_DIR "/models/pocket-xl");
  const c10::InferenceMode inference;
};

TEST_F(Recorded, UNet) {
  const auto config = read_unet_2d_condition_config(model.config("unet"), "unet");
  const auto unet = network<UNet2DConditionModel>(config);
  const int64_t batch = 2, height = 6, width = 10;  // odd on the way down
  const auto options = at::dtype(at::kDouble);
  const int64_t pooled =
      config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim;
  UNetConditioning conditioning;
  const auto prepared = record([&] {
    conditioning =
        unet.condition(at::ones({batch, 77, config.levels.front().text_width}, options),
                       at::ones({batch, pooled}, options), at::ones({batch, 6}), at::ones({1}));
  });
  const auto run = record([&] {
    unet(at::ones({batch, config.in_channels, height, width}, options), conditioning, 0);
  });
  KernelPlan plan;
  plan_unet(plan, config, batch, height, width, {at::kDouble, at::kCPU});
  expect_same(planned(plan, "unet/"), run);
  expect_same(planned(plan, "unet.condition/"), prepared);
}

TEST_F(Recorded, Decoder) {
  const auto config = read_autoencoder_kl_config(model.config("vae"), "vae");
  const auto vae = network<AutoencoderKL>(config);
  const auto run = record([&] { vae.decode(at::ones({2, config.latent_channels, 4, 6})); });
  KernelPlan plan;
  plan_vae_decoder(plan, config, 2, 4, 6, {at::kDouble, at::kCPU});
  expect_same(planned(plan, ""), run);
}

TEST_F(Recorded, TextEncoders) {
  for (const auto& [component, head] :
       {std::pair{"text_encoder", ClipHead::none}, {"text_encoder_2", ClipHead::projection}}) {
    const auto config = read_clip_text_config(model.config(component), component, head);
    const auto clip = network<CLIPTextModel>(config);
    const auto ids = at::zeros({3, config.max_position_embeddings}, at::kLong);
    const auto run = record([&] { clip(ids); });
    KernelPlan plan;
    plan_clip(plan, component, config, 3);
    auto work = planned(plan, "");
    expect_same(work, run);
  }
}

}  // namespace
}  // namespace backlot
