#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "base/error.h"
#include "pipelines/sdxl.h"
#include "pipelines/sdxl_pipeline.h"
#include "pipelines/tensor_errors.h"
#include "weights/json_file.h"
#include "weights/model_folder.h"

namespace backlot {
namespace {

// Reads one component after another, each in the dtype it works in.
class SdxlLoader {
 public:
  SdxlLoader(const PipelineOptions& options, at::Device device)
      : options_(options),
        device_(device),
        folder_(ModelFolder::open(options.model)),
        dtype_(choose_dtype(options.precision, device)) {
    if (folder_.pipeline_class() != "StableDiffusionXLPipeline") {
      throw LoadError(
          options.model.string(),
          fmt::format("holds a {}, not a StableDiffusionXLPipeline", folder_.pipeline_class()),
          "give an SDXL model's folder");
    }
    insist_on_quantization(options.quantization, device, dtype_);
  }

  SdxlParts load() const {
    auto first = text_encoder("text_encoder", "tokenizer", ClipHead::none);
    auto second = text_encoder("text_encoder_2", "tokenizer_2", ClipHead::projection);
    const auto unet_config =
        read_unet_2d_condition_config(folder_.config("unet"), config_path("unet"));
    const auto vae_config = read_autoencoder_kl_config(
        options_.vae ? read_json_file(*options_.vae / "config.json") : folder_.config("vae"),
        options_.vae ? (*options_.vae / "config.json").string() : config_path("vae"));
    insist_on_fit(unet_config, vae_config, first.config(), second.config());
    const auto zeros = folder_.index().value("force_zeros_for_empty_prompt", true);
    return {.where = options_.model.string(),
            .device = device_,
            .prompts = PromptEncoder(std::move(first), std::move(second),
                                     zeros ? NullNegative::zeros : NullNegative::empty_text),
            .unet = backlot::load<UNet2DConditionModel>(
                folder_.checkpoint("unet", options_.variant), unet_config, dtype_, device_,
                options_.quantization),
            .vae = autoencoder(vae_config),
            .scheduler_config = folder_.config("scheduler")};
  }

 private:
  static at::ScalarType choose_dtype(Precision precision, at::Device device);

  std::string config_path(const char* component) const {
    return (options_.model / component / "config.json").string();
  }

  TextEncoder text_encoder(const char* component, const char* tokenizer, ClipHead head) const {
    const auto config =
        read_clip_text_config(folder_.config(component), config_path(component), head);
    auto words = ClipTokenizer::load(folder_.tokenizer_folder(tokenizer));
    if (words.max_length() > config.max_position_embeddings ||
        words.vocabulary_size() > config.vocab_size) {
      throw LoadError(
          config_path(component),
          fmt::format("has room for {} words and {} tokens, but its tokenizer gives {} and {}",
                      config.vocab_size, config.max_position_embeddings, words.vocabulary_size(),
                      words.max_length()),
          fmt::format("take {} and {} from the same model", component, tokenizer));
    }
    return TextEncoder(std::move(words),
                       backlot::load<CLIPTextModel>(folder_.checkpoint(component, options_.variant),
                                                    config, dtype_, device_),
                       device_);
  }

  AutoencoderKL autoencoder(const AutoencoderKLConfig& config) const {
    const auto checkpoint = options_.vae
                                ? Checkpoint::open(*options_.vae, "diffusion_pytorch_model")
                                : folder_.checkpoint("vae", options_.variant);
    const bool upcast = dtype_ == at::kHalf && config.force_upcast;
    return backlot::load<AutoencoderKL>(checkpoint, config, upcast ? at::kFloat : dtype_, device_);
  }

  // That the networks were made for each other.
  void insist_on_fit(const UNet2DConditionConfig& unet, const AutoencoderKLConfig& vae,
                     const CLIPTextConfig& first, const CLIPTextConfig& second) const {
    const auto agree = [&](const char* what, int64_t wanted, int64_t given) {
      if (wanted == given) return;
      throw LoadError(config_path("unet"),
                      fmt::format("{} is {}, but the other networks give {}", what, wanted, given),
                      "take all components from one model, or a VAE of the SDXL family");
    };
    agree("in_channels", unet.in_channels, vae.latent_channels);
    agree("out_channels", unet.out_channels, vae.latent_channels);
    for (const auto& level : unet.levels) {
      agree("cross_attention_dim", level.text_width, first.hidden_size + second.hidden_size);
    }
    agree("projection_class_embeddings_input_dim", unet.projection_class_embeddings_input_dim,
          second.projection_dim + 6 * unet.addition_time_embed_dim);
  }

  const PipelineOptions& options_;
  at::Device device_;
  ModelFolder folder_;
  at::ScalarType dtype_;
};

at::ScalarType SdxlLoader::choose_dtype(Precision precision, at::Device device) {
  switch (precision) {
    case Precision::float32:
      return at::kFloat;
    case Precision::bfloat16:
      return at::kBFloat16;
    case Precision::float16:
      return at::kHalf;
    case Precision::automatic:
      break;
  }
  // With these instructions a step in bfloat16 takes half to two thirds of the time that it takes
  // in float32, measured on small and full-size models; without them oneDNN has to emulate it.
  if (device.is_cpu()) return __builtin_cpu_supports("avx512bf16") ? at::kBFloat16 : at::kFloat;
  return at::kBFloat16;
}

}  // namespace

std::unique_ptr<ImagePipeline> load_sdxl(const PipelineOptions& options, at::Device device,
                                         Progress& progress) {
  progress.stage("load");
  std::unique_ptr<ImagePipeline> pipeline;
  const c10::InferenceMode inference;
  in_our_words(options.model.string(), [&] {
    pipeline = std::make_unique<SdxlPipeline>(SdxlLoader(options, device).load());
  });
  return pipeline;
}

}  // namespace backlot
