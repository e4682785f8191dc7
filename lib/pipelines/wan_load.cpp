#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "pipelines/precision.h"
#include "pipelines/synthetic.h"
#include "pipelines/tensor_errors.h"
#include "pipelines/wan.h"
#include "pipelines/wan_pipeline.h"
#include "weights/model_folder.h"
#include "weights/read_ahead.h"
#include "weights/weights.h"

namespace backlot {
namespace {

// Reads one component after another, each in the dtype it works in.
class WanLoader {
 public:
  WanLoader(const VideoPipelineOptions& options, at::Device device)
      : options_(options),
        device_(device),
        model_(options.synthetic ? *options.synthetic : options.model.string()),
        folder_(options.synthetic ? synthetic_video_model(*options.synthetic)
                                  : ModelFolder::open(options.model)),
        dtype_(choose_dtype(options.precision, device)) {
    if (folder_.pipeline_class() != "WanPipeline")
      throw LoadError(model_,
                      fmt::format("holds a {}, not a WanPipeline", folder_.pipeline_class()),
                      "give the folder of a Wan text-to-video model");
    if (folder_.index().value("expand_timesteps", Json()) == Json(true))
      throw LoadError(model_,
                      "expands timesteps, as Wan 2.2's 5B model does, which is not available",
                      "take Wan 2.1, or a 14B model of Wan 2.2");
  }

  WanParts load() const {
    const uint64_t before = MemoryMeter(device_).held();
    const ReadAhead ahead(files());
    const auto text_config =
        read_umt5_config(folder_.config("text_encoder"), config_path("text_encoder"));
    const auto config = transformer_config("transformer");
    const auto vae_config =
        read_autoencoder_kl_wan_config(folder_.config("vae"), config_path("vae"));
    insist_on_fit("transformer", config, vae_config, text_config);
    const auto boundary = boundary_ratio();
    std::optional<WanTransformer3DModel> second;
    if (boundary) {
      const auto second_config = transformer_config("transformer_2");
      insist_on_fit("transformer_2", second_config, vae_config, text_config);
      second.emplace(network<WanTransformer3DModel>("transformer_2", second_config, dtype_));
    }
    return {.where = model_,
            .device = device_,
            .text = text_encoder(text_config),
            .transformer = network<WanTransformer3DModel>("transformer", config, dtype_),
            .transformer_2 = std::move(second),
            .boundary_ratio = boundary.value_or(0),
            // In half precision its numbers leave the range.
            .vae = network<AutoencoderKLWan>("vae", vae_config,
                                             dtype_ == at::kHalf ? at::kFloat : dtype_),
            .scheduler_config = folder_.config("scheduler"),
            .memory_before = before};
  }

 private:
  // In the order in which load() comes to them.
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> files;
    if (options_.synthetic) return files;
    const auto add = [&](const char* component) {
      if (!folder_.has(component)) return;
      const Checkpoint checkpoint = folder_.checkpoint(component, options_.variant);
      files.insert(files.end(), checkpoint.files().begin(), checkpoint.files().end());
    };
    add("transformer_2");
    if (options_.text_encoder == TextEncoderPlace::held) add("text_encoder");
    add("transformer");
    add("vae");
    return files;
  }

  std::string config_path(const char* component) const {
    return (std::filesystem::path(model_) / component / "config.json").string();
  }

  WanTransformer3DConfig transformer_config(const char* component) const {
    return read_wan_transformer_3d_config(folder_.config(component), config_path(component));
  }

  // Nothing where one transformer takes all steps.
  std::optional<double> boundary_ratio() const {
    const Json ratio = folder_.index().value("boundary_ratio", Json());
    if (ratio.is_null()) return std::nullopt;
    const std::string where = (options_.model / "model_index.json").string();
    if (!ratio.is_number() || ratio.get<double>() < 0 || ratio.get<double>() > 1)
      throw LoadError(where, "boundary_ratio is not a number from 0 to 1",
                      "download the model again");
    if (!folder_.has("transformer_2"))
      throw LoadError(where, "has a boundary_ratio, but no transformer_2",
                      "download the model again");
    return ratio.get<double>();
  }

  template <class Network, class Config>
  Network network(const char* component, const Config& config, at::ScalarType dtype) const {
    if (options_.synthetic)
      return backlot::load<Network>(RandomWeights(component), config, dtype, device_);
    return backlot::load<Network>(folder_.checkpoint(component, options_.variant), config, dtype,
                                  device_);
  }

  WanTextEncoder text_encoder(const UMT5Config& config) const {
    // UMT5 leaves half precision's range.
    const auto dtype = dtype_ == at::kHalf ? at::kBFloat16 : dtype_;
    if (options_.synthetic) return WanTextEncoder::random(config.d_model, dtype, device_);
    auto tokenizer = UnigramTokenizer::load(folder_.tokenizer_folder("tokenizer"));
    agree("text_encoder", "vocab_size", tokenizer.vocabulary_size() <= config.vocab_size,
          config.vocab_size, tokenizer.vocabulary_size());
    if (options_.text_encoder != TextEncoderPlace::held)
      // What does not agree is to be known now, not at the first prompt. Takes no memory.
      backlot::load<UMT5Encoder>(folder_.checkpoint("text_encoder", options_.variant), config,
                                 dtype, at::kMeta);
    const auto read = [folder = folder_, variant = options_.variant, config,
                       dtype](at::Device device) {
      return backlot::load<UMT5Encoder>(folder.checkpoint("text_encoder", variant), config, dtype,
                                        device);
    };
    return WanTextEncoder(std::move(tokenizer), read, options_.text_encoder, device_);
  }

  void agree(const char* component, const char* what, bool fine, int64_t wanted,
             int64_t given) const {
    if (fine) return;
    throw LoadError(config_path(component),
                    fmt::format("{} is {}, but the other parts give {}", what, wanted, given),
                    "take all components from one model");
  }

  // That the networks were made for each other.
  void insist_on_fit(const char* component, const WanTransformer3DConfig& transformer,
                     const AutoencoderKLWanConfig& vae, const UMT5Config& text) const {
    agree(component, "in_channels", transformer.in_channels == vae.z_dim, transformer.in_channels,
          vae.z_dim);
    agree(component, "out_channels", transformer.out_channels == vae.z_dim,
          transformer.out_channels, vae.z_dim);
    agree(component, "text_dim", transformer.text_dim == text.d_model, transformer.text_dim,
          text.d_model);
  }

  const VideoPipelineOptions& options_;
  at::Device device_;
  std::string model_;  // for messages
  ModelFolder folder_;
  at::ScalarType dtype_;
};

}  // namespace

std::unique_ptr<VideoPipeline> load_wan(const VideoPipelineOptions& options, at::Device device,
                                        Progress& progress) {
  progress.stage("load");
  std::unique_ptr<VideoPipeline> pipeline;
  const c10::InferenceMode inference;
  in_our_words(options.synthetic.value_or(options.model.string()), [&] {
    pipeline = std::make_unique<WanPipeline>(WanLoader(options, device).load());
  });
  return pipeline;
}

}  // namespace backlot
