#include "weights/memory.h"

#include <algorithm>
#include <vector>

#include "weights/inspect.h"

namespace backlot {
namespace {

std::vector<int64_t> block_channels(const Json& config) {
  std::vector<int64_t> channels;
  for (const auto& each : config.value("block_out_channels", Json::array()))
    channels.push_back(each.is_number_integer() ? each.get<int64_t>() : 0);
  return channels;
}

}  // namespace

uint64_t picture_bytes(std::span<const int64_t> unet_channels,
                       std::span<const int64_t> vae_channels, int64_t value_bytes, int64_t width,
                       int64_t height, bool guidance) {
  constexpr int64_t skips = 3;     // feature maps that each level keeps for the way up
  constexpr int64_t at_work = 16;  // a block's maps, with the eight-fold width of a gated layer
  constexpr int64_t full_size_maps = 4;  // of the decoder's last upsampling, which is the widest
  const int64_t reduction = int64_t{1} << (std::max<size_t>(vae_channels.size(), 1) - 1);
  int64_t pixels = (width / reduction) * (height / reduction);
  int64_t kept = 0, widest = 0;
  for (const int64_t channels : unet_channels) {
    kept += skips * channels * pixels;
    widest = std::max(widest, at_work * channels * pixels);
    pixels /= 4;
  }
  const int64_t denoise = (kept + widest) * (guidance ? 2 : 1);
  const int64_t last = vae_channels.empty() ? 0 : vae_channels[vae_channels.size() > 1 ? 1 : 0];
  const int64_t decode = full_size_maps * last * width * height;
  return static_cast<uint64_t>(std::max(denoise, decode) * value_bytes + 3 * width * height);
}

MemoryNeed memory_need(const ModelFolder& model, const std::optional<std::string>& variant,
                       int64_t value_bytes, int64_t width, int64_t height, bool guidance) {
  const int64_t parameters = inspect_model(model.path(), variant).parameters();
  return {static_cast<uint64_t>(parameters * value_bytes),
          picture_bytes(block_channels(model.config("unet")), block_channels(model.config("vae")),
                        value_bytes, width, height, guidance)};
}

}  // namespace backlot
