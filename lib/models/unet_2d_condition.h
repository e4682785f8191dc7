// The denoiser of Stable Diffusion XL.
//
// Reference: diffusers/models/unets/unet_2d_condition.py and unet_2d_blocks.py, whose tensor names
// this file follows. Shape letters: B batch, S steps, T text tokens, X text width, C channels.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "models/transformer_2d.h"
#include "nn/resnet.h"
#include "nn/timestep_embedding.h"

namespace backlot {

// One level of the UNet, from the finest down.
struct UNetLevel {
  int64_t channels;
  int64_t resnets;            // of the down block; the up block has one more
  int64_t down_transformers;  // transformer layers after each resnet, 0 for DownBlock2D
  int64_t up_transformers;    // the same of the up block at this level
  int64_t heads;
  int64_t text_width;
};

struct UNet2DConditionConfig {
  int64_t in_channels = 4, out_channels = 4;
  std::vector<UNetLevel> levels;
  int64_t mid_transformers = 1;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  bool use_linear_projection = false;
  bool flip_sin_to_cos = true;
  double freq_shift = 0;
  int64_t addition_time_embed_dim = 256;
  int64_t projection_class_embeddings_input_dim = 2816;

  int64_t time_embed_dim() const { return 4 * levels.front().channels; }
};

// Throws LoadError naming `where` and the key.
UNet2DConditionConfig read_unet_2d_condition_config(const Json& config, const std::string& where);

// What a run's text and times amount to inside the network: the same at every step, so made once.
struct UNetConditioning {
  std::vector<KeyValue> text;  // a pair of [B, T, C] for each cross-attention
  std::vector<Tensor> shifts;  // [S, B, C] for each resnet
};

struct UNetBlock {
  std::vector<ResnetBlock2D> resnets;
  std::vector<Transformer2DModel> attentions;  // empty, or one a resnet (one in the mid block)
  std::optional<Conv2d> downsample;
  std::optional<Upsample2D> upsample;
};

class UNet2DConditionModel {
 public:
  UNet2DConditionModel(const Weights& w, const UNet2DConditionConfig& config);

  // text: [B, T, X], pooled: [B, P], time_ids: [B, 6] float32, timesteps: [S]
  UNetConditioning condition(const Tensor& text, const Tensor& pooled, const Tensor& time_ids,
                             const Tensor& timesteps) const;

  // sample: [B, in_channels, H, W] -> [B, out_channels, H, W], at timestep number `step` of those
  // that `conditioning` was made for. H and W may be any.
  //
  // `deep`, if given: features just before the last resnet, which change little from step to step.
  // Undefined ones are computed and left there; defined ones of another step are taken as they are,
  // and nothing below the finest level runs (DeepCache, Ma et al. 2023, cache_branch_id 0).
  Tensor operator()(const Tensor& sample, const UNetConditioning& conditioning, int64_t step,
                    Tensor* deep = nullptr) const;

  at::ScalarType dtype() const { return conv_in_.dtype(); }
  const UNet2DConditionConfig& config() const { return config_; }

 private:
  class Pass;

  Tensor finish(Pass& pass, const Tensor& deep, const Tensor& skip) const;

  template <class Visit>
  void each_block(Visit visit) const;

  UNet2DConditionConfig config_;
  Conv2d conv_in_;
  TimestepEmbedding time_embedding_, add_embedding_;
  std::vector<UNetBlock> down_blocks_;
  UNetBlock mid_block_;
  std::vector<UNetBlock> up_blocks_;
  GroupNorm conv_norm_out_;
  Conv2d conv_out_;
};

}  // namespace backlot
