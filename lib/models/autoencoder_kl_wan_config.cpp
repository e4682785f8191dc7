#include <algorithm>

#include "base/error.h"
#include "models/autoencoder_kl_wan.h"
#include "models/config_reader.h"

namespace backlot {
namespace {

const std::vector<double> wan_mean = {-0.7571, -0.7089, -0.9113, 0.1075,  -0.1745, 0.9653,
                                      -0.1517, 1.5508,  0.4134,  -0.0715, 0.5517,  -0.3632,
                                      -0.1922, -0.9497, 0.2503,  -0.2921};
const std::vector<double> wan_std = {2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708,
                                     2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
                                     1.6382, 1.1253, 2.8251, 1.9160};

std::vector<bool> flags(const ConfigReader& reader, const Json& json, const std::string& key) {
  std::vector<bool> out;
  for (const auto& value : json.at(key)) {
    if (!value.is_boolean()) reader.refuse(key, "which is not a list of true and false");
    out.push_back(value.get<bool>());
  }
  return out;
}

}  // namespace

int64_t AutoencoderKLWanConfig::scale_factor_temporal() const {
  return int64_t{1} << std::count(temperal_downsample.begin(), temperal_downsample.end(), true);
}

AutoencoderKLWanConfig read_autoencoder_kl_wan_config(const Json& json, const std::string& where) {
  ConfigReader reader(json, where, "Wan 2.1");
  AutoencoderKLWanConfig config;
  reader.only("_class_name", {"AutoencoderKLWan"});
  reader.only("is_residual", {false});
  reader.only("patch_size", {1});
  reader.only("attn_scales", {Json::array()});
  reader.only("in_channels", {3});
  reader.only("out_channels", {3});
  config.base_dim = reader.integer("base_dim", config.base_dim);
  config.decoder_base_dim = reader.integer("decoder_base_dim", config.base_dim);
  config.z_dim = reader.integer("z_dim", config.z_dim);
  config.num_res_blocks = reader.integer("num_res_blocks", config.num_res_blocks);
  if (reader.given("dim_mult")) config.dim_mult = reader.integers("dim_mult");
  if (reader.given("temperal_downsample")) {
    config.temperal_downsample = flags(reader, json, "temperal_downsample");
  }
  config.latents_mean = reader.given("latents_mean") ? reader.numbers("latents_mean") : wan_mean;
  config.latents_std = reader.given("latents_std") ? reader.numbers("latents_std") : wan_std;
  // Dropout is training's. The factors follow from the levels, which they have to agree with.
  reader.ignore({"dropout", "dim_mult", "temperal_downsample", "latents_mean", "latents_std"});

  if (config.temperal_downsample.size() + 1 != config.dim_mult.size()) {
    reader.refuse("temperal_downsample", "which should be one shorter than dim_mult");
  }
  const auto channels = static_cast<size_t>(config.z_dim);
  if (config.latents_mean.size() != channels) {
    reader.refuse("latents_mean", "of another length than z_dim");
  }
  if (config.latents_std.size() != channels ||
      std::ranges::any_of(config.latents_std, [](double value) { return value <= 0; })) {
    reader.refuse("latents_std", "which should be z_dim numbers above zero");
  }
  reader.only("scale_factor_temporal", {config.scale_factor_temporal()});
  reader.only("scale_factor_spatial", {config.scale_factor_spatial()});
  reader.finish();
  return config;
}

}  // namespace backlot
