#include "fleet/memory.h"

#include <algorithm>
#include <vector>

#include "spec/spec.h"
#include "weights/inspect.h"

namespace backlot {
namespace {

std::vector<double> widths(const Json& config, std::vector<double> otherwise) {
  if (!config.contains("block_out_channels") || !config["block_out_channels"].is_array())
    return otherwise;
  std::vector<double> out;
  for (const auto& channels : config["block_out_channels"])
    out.push_back(channels.is_number() ? channels.get<double>() : 0.0);
  return out.empty() ? otherwise : out;
}

// Values alive at once per latent pixel: skip connections, and a transformer's eight-fold gate.
double unet_values(const Json& config) {
  constexpr double maps_of_a_level = 20;
  double values = 0, share = 1;
  for (const double channels : widths(config, {320, 640, 1280})) {
    values += maps_of_a_level * channels * share;
    share /= 4;
  }
  return values;
}

// Values alive at once per pixel: the last upsampling's input, output and workspace.
double vae_values(const Json& config) {
  constexpr double full_size_maps = 3;
  const auto channels = widths(config, {128, 256, 512, 512});
  return full_size_maps * channels[std::min<size_t>(1, channels.size() - 1)];
}

}  // namespace

MemoryNeed memory_need(const ModelFolder& model, const std::optional<std::string>& variant,
                       int value_bytes, int64_t width, int64_t height, bool guidance) {
  const double pixels = static_cast<double>(width) * static_cast<double>(height);
  const double unet = unet_values(model.config("unet")) * pixels / 64 * (guidance ? 2 : 1);
  const double vae = vae_values(model.config("vae")) * pixels;
  const auto parameters = inspect_model(model.path(), variant).parameters();
  return {static_cast<uint64_t>(parameters) * static_cast<uint64_t>(value_bytes),
          static_cast<uint64_t>(std::max(unet, vae) * value_bytes)};
}

MemoryNeed memory_need(const Item& item, int value_bytes) {
  const ImageRequest request = image_request(item);
  std::optional<std::string> variant;
  if (const auto& named = item.parameters.value("variant", Json()); named.is_string())
    variant = named.get<std::string>();
  return memory_need(ModelFolder::open(item.model), variant, value_bytes, request.width,
                     request.height, request.guidance_scale > 1);
}

}  // namespace backlot
