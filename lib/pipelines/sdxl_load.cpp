#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "nn/quantized.h"
#include "pipelines/precision.h"
#include "pipelines/sdxl.h"
#include "pipelines/sdxl_pipeline.h"
#include "pipelines/synthetic.h"
#include "pipelines/tensor_errors.h"
#include "weights/json_file.h"
#include "weights/model_folder.h"
#include "weights/read_ahead.h"

namespace backlot {
namespace {

// The model, for messages.
std::string model_name(const PipelineOptions& options) {
  return options.synthetic ? *options.synthetic : options.model.string();
}

// Reads one component after another, each in the dtype it works in.
class SdxlLoader {
 public:
  SdxlLoader(const PipelineOptions& options, at::Device device)
      : options_(options),
        device_(device),
        model_(model_name(options)),
        folder_(options.synthetic ? synthetic_model(*options.synthetic)
                                  : ModelFolder::open(options.model)),
        dtype_(choose_dtype(options.precision, device)) {
    insist_on_quantization(options.quantization, device, dtype_);
    if (folder_.pipeline_class() != "StableDiffusionXLPipeline") {
      throw LoadError(
          model_,
          fmt::format("holds a {}, not a StableDiffusionXLPipeline", folder_.pipeline_class()),
          "give an SDXL model's folder");
    }
  }

  SdxlParts load() const {
    const uint64_t before = MemoryMeter(device_).held();
    const ReadAhead ahead(files());
    auto first = text_encoder("text_encoder", "tokenizer", ClipHead::none);
    auto second = text_encoder("text_encoder_2", "tokenizer_2", ClipHead::projection);
    const auto unet_config =
        read_unet_2d_condition_config(folder_.config("unet"), config_path("unet"));
    const auto vae_config = read_autoencoder_kl_config(
        options_.vae ? read_json_file(*options_.vae / "config.json") : folder_.config("vae"),
        options_.vae ? (*options_.vae / "config.json").string() : config_path("vae"));
    insist_on_fit(unet_config, vae_config, first.config(), second.config());
    const auto zeros = folder_.index().value("force_zeros_for_empty_prompt", true);
    return {
        .where = model_,
        .device = device_,
        .prompts =
            PromptEncoder(std::move(first), std::move(second),
                          zeros ? NullNegative::zeros : NullNegative::empty_text,
                          options_.text_encoders_out ? TextEncoders::out : TextEncoders::held),
        .unet = network<UNet2DConditionModel>("unet", unet_config, dtype_, options_.quantization),
        .vae = autoencoder(vae_config),
        .scheduler_config = folder_.config("scheduler"),
        .memory_before = before};
  }

 private:
  // In the order in which load() comes to them.
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> files;
    if (options_.synthetic) return files;
    const auto add = [&](const Checkpoint& checkpoint) {
      for (const auto& file : checkpoint.files()) {
        if (std::find(files.begin(), files.end(), file) == files.end()) files.push_back(file);
      }
    };
    if (!options_.text_encoders_out) {
      add(folder_.checkpoint("text_encoder", options_.variant));
      add(folder_.checkpoint("text_encoder_2", options_.variant));
    }
    add(folder_.checkpoint("unet", options_.variant));
    if (!options_.vae) add(folder_.checkpoint("vae", options_.variant));
    return files;
  }

  std::string config_path(const char* component) const {
    return (std::filesystem::path(model_) / component / "config.json").string();
  }

  template <class Network, class Config>
  Network network(const char* component, const Config& config, at::ScalarType dtype,
                  Quantization quantization = Quantization::none) const {
    if (options_.synthetic)
      return backlot::load<Network>(RandomWeights(component), config, dtype, device_, quantization);
    return backlot::load<Network>(folder_.checkpoint(component, options_.variant), config, dtype,
                                  device_, quantization);
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
    if (options_.text_encoders_out && !options_.synthetic) {
      // What does not agree is to be known now, not at the first prompt. Takes no memory.
      backlot::load<CLIPTextModel>(folder_.checkpoint(component, options_.variant), config, dtype_,
                                   at::kMeta);
    }
    const auto read = [folder = folder_, component = std::string(component), config,
                       variant = options_.variant, random = options_.synthetic.has_value(),
                       dtype = dtype_, device = device_] {
      if (random) {
        return backlot::load<CLIPTextModel>(RandomWeights(component), config, dtype, device);
      }
      return backlot::load<CLIPTextModel>(folder.checkpoint(component, variant), config, dtype,
                                          device);
    };
    return TextEncoder(std::move(words), config, read, device_);
  }

  AutoencoderKL autoencoder(const AutoencoderKLConfig& config) const {
    const auto dtype = dtype_ == at::kHalf && config.force_upcast ? at::kFloat : dtype_;
    if (!options_.vae) return network<AutoencoderKL>("vae", config, dtype);
    return backlot::load<AutoencoderKL>(Checkpoint::open(*options_.vae, "diffusion_pytorch_model"),
                                        config, dtype, device_);
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
  std::string model_;
  ModelFolder folder_;
  at::ScalarType dtype_;
};

}  // namespace

std::unique_ptr<ImagePipeline> load_sdxl(const PipelineOptions& options, at::Device device,
                                         Progress& progress) {
  progress.stage("load");
  std::unique_ptr<ImagePipeline> pipeline;
  const c10::InferenceMode inference;
  in_our_words(model_name(options), [&] {
    pipeline = std::make_unique<SdxlPipeline>(SdxlLoader(options, device).load());
  });
  return pipeline;
}

}  // namespace backlot
