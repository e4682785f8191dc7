// Wan-AI/Wan2.1-T2V-1.3B-Diffusers and Wan-AI/Wan2.1-T2V-14B-Diffusers: model_index.json and its
// components' config.json, less the fields that say nothing about the networks.
#include "weights/wan_configs.h"

#include "base/error.h"

namespace backlot {
namespace {

constexpr std::string_view index_text = R"({
  "_class_name": "WanPipeline",
  "boundary_ratio": null,
  "expand_timesteps": false,
  "scheduler": ["diffusers", "UniPCMultistepScheduler"],
  "text_encoder": ["transformers", "UMT5EncoderModel"],
  "tokenizer": ["transformers", "T5TokenizerFast"],
  "transformer": ["diffusers", "WanTransformer3DModel"],
  "transformer_2": [null, null],
  "vae": ["diffusers", "AutoencoderKLWan"]
})";

// Of the 1.3B model.
constexpr std::string_view transformer_text = R"({
  "_class_name": "WanTransformer3DModel",
  "added_kv_proj_dim": null,
  "attention_head_dim": 128,
  "cross_attn_norm": true,
  "eps": 1e-06,
  "ffn_dim": 8960,
  "freq_dim": 256,
  "image_dim": null,
  "in_channels": 16,
  "num_attention_heads": 12,
  "num_layers": 30,
  "out_channels": 16,
  "patch_size": [1, 2, 2],
  "pos_embed_seq_len": null,
  "qk_norm": "rms_norm_across_heads",
  "rope_max_seq_len": 1024,
  "text_dim": 4096
})";

constexpr std::string_view vae_text = R"({
  "_class_name": "AutoencoderKLWan",
  "attn_scales": [],
  "base_dim": 96,
  "dim_mult": [1, 2, 4, 4],
  "dropout": 0.0,
  "latents_mean": [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134,
                   -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921],
  "latents_std": [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526,
                  2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.916],
  "num_res_blocks": 2,
  "temperal_downsample": [false, true, true],
  "z_dim": 16
})";

constexpr std::string_view text_encoder_text = R"({
  "architectures": ["UMT5EncoderModel"],
  "d_ff": 10240,
  "d_kv": 64,
  "d_model": 4096,
  "dense_act_fn": "gelu_new",
  "feed_forward_proj": "gated-gelu",
  "is_gated_act": true,
  "layer_norm_epsilon": 1e-06,
  "model_type": "umt5",
  "num_heads": 64,
  "num_layers": 24,
  "relative_attention_max_distance": 128,
  "relative_attention_num_buckets": 32,
  "vocab_size": 256384
})";

constexpr std::string_view scheduler_text = R"({
  "_class_name": "UniPCMultistepScheduler",
  "beta_end": 0.02,
  "beta_schedule": "linear",
  "beta_start": 0.0001,
  "disable_corrector": [],
  "dynamic_thresholding_ratio": 0.995,
  "final_sigmas_type": "zero",
  "flow_shift": 3.0,
  "lower_order_final": true,
  "num_train_timesteps": 1000,
  "predict_x0": true,
  "prediction_type": "flow_prediction",
  "rescale_betas_zero_snr": false,
  "sample_max_value": 1.0,
  "solver_order": 2,
  "solver_p": null,
  "solver_type": "bh2",
  "steps_offset": 0,
  "thresholding": false,
  "timestep_spacing": "linspace",
  "trained_betas": null,
  "use_beta_sigmas": false,
  "use_exponential_sigmas": false,
  "use_flow_sigmas": true,
  "use_karras_sigmas": false
})";

Json transformer_config(std::string_view architecture) {
  Json config = Json::parse(transformer_text);
  if (architecture == "wan-14b") {
    config["ffn_dim"] = 13824;
    config["num_attention_heads"] = 40;
    config["num_layers"] = 40;
  }
  return config;
}

}  // namespace

bool is_published_wan(std::string_view architecture) {
  return architecture == "wan-1.3b" || architecture == "wan-14b";
}

Json wan_index() { return Json::parse(index_text); }

Json published_wan_config(std::string_view component, std::string_view architecture) {
  if (component == "transformer") return transformer_config(architecture);
  if (component == "vae") return Json::parse(vae_text);
  if (component == "text_encoder") return Json::parse(text_encoder_text);
  if (component == "scheduler") return Json::parse(scheduler_text);
  throw LoadError(std::string(architecture), "has no component " + std::string(component),
                  "this is a mistake in backlot: report it");
}

}  // namespace backlot
