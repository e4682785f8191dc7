#include "weights/memory.h"

#include <algorithm>
#include <string_view>

#include "weights/checkpoint.h"
#include "weights/json_file.h"

namespace backlot {
namespace {

constexpr uint64_t operator""_MiB(unsigned long long n) { return uint64_t{n} << 20; }

std::vector<int64_t> block_channels(const Json& config) {
  std::vector<int64_t> channels;
  for (const auto& each : config.value("block_out_channels", Json::array()))
    channels.push_back(each.is_number_integer() ? each.get<int64_t>() : 0);
  return channels;
}

int64_t integer(const Json& config, const char* key, int64_t otherwise) {
  const auto found = config.find(key);
  return found != config.end() && found->is_number_integer() ? found->get<int64_t>() : otherwise;
}

// lib/nn/winograd.cpp serves channels in these multiples.
bool fits_winograd(const TensorView& view, std::string_view name) {
  return view.shape.size() == 4 && view.shape[2] == 3 && view.shape[3] == 3 &&
         view.shape[0] % 16 == 0 && view.shape[1] % 32 == 0 &&
         name.find("downsamplers") == std::string_view::npos;
}

NetworkSizes network_sizes(const Checkpoint& checkpoint) {
  NetworkSizes sizes;
  for (const auto& [name, view] : checkpoint.tensors()) {
    const int64_t count = view.elements();
    if (fits_winograd(view, name)) {
      sizes.winograd += count;
      if (name.find("upsamplers") != std::string::npos) sizes.doubling += count;
    } else if (view.shape.size() == 2) {
      sizes.matrices += count;
    } else {
      sizes.others += count;
    }
  }
  return sizes;
}

int64_t parameters(const Checkpoint& checkpoint) {
  int64_t count = 0;
  for (const auto& [name, view] : checkpoint.tensors()) count += view.elements();
  return count;
}

// The variant asked for, or the only kind of weights that the component has.
Checkpoint open(const ModelFolder& model, const char* component,
                const std::optional<std::string>& variant) {
  if (variant || model.single_file()) return model.checkpoint(component, variant);
  const auto present = Checkpoint::variants(model.component_path(component), model.stem(component));
  if (present.empty() || present.front().empty()) return model.checkpoint(component);
  return model.checkpoint(component, present.front());
}

int64_t value_bytes(std::string_view dtype) { return dtype == "float32" ? 4 : 2; }

// On a CPU every block of memory ends at a huge page's end: for SDXL 7 % more.
uint64_t in_blocks(int64_t bytes, const LoadedAs& as) {
  return static_cast<uint64_t>(as.on_gpu ? bytes : bytes + bytes * 7 / 100);
}

uint64_t network_bytes(const NetworkSizes& sizes, const LoadedAs& as, int64_t each) {
  int64_t bytes = sizes.others * each;
  bytes += sizes.matrices * (as.quantization == Quantization::none ? each : 1);
  if (as.own_kernels && each == 2 && !as.on_gpu) {
    // 16 values stand for the 9 of a kernel, and 9 more where it is joined with an enlargement.
    bytes += (sizes.winograd * 16 / 9 + sizes.doubling) * each;
  } else {
    bytes += sizes.winograd * (as.quantization == Quantization::int8 ? 1 : each);
  }
  return in_blocks(bytes, as);
}

}  // namespace

ModelSizes model_sizes(const ModelFolder& model, const std::optional<std::string>& variant,
                       const std::optional<std::filesystem::path>& vae) {
  ModelSizes sizes;
  if (model.pipeline_class() == "WanPipeline") {
    sizes.video = video_sizes(model, variant);
    sizes.vae_tile = wan_tile;
    return sizes;
  }
  sizes.unet = network_sizes(open(model, "unet", variant));
  sizes.vae = network_sizes(vae ? Checkpoint::open(*vae, "diffusion_pytorch_model")
                                : open(model, "vae", variant));
  sizes.first_text_encoder = parameters(open(model, "text_encoder", variant));
  sizes.second_text_encoder = parameters(open(model, "text_encoder_2", variant));
  const Json decoder = vae ? read_json_file(*vae / "config.json") : model.config("vae");
  sizes.unet_channels = block_channels(model.config("unet"));
  sizes.vae_channels = block_channels(decoder);
  sizes.vae_tile = integer(decoder, "sample_size", 32);
  const auto upcast = decoder.find("force_upcast");
  sizes.vae_in_float32 = upcast == decoder.end() || *upcast != false;
  return sizes;
}

WeightBytes weight_bytes(const ModelSizes& sizes, const LoadedAs& as) {
  const int64_t each = value_bytes(as.dtype);
  if (sizes.video) {
    const auto& video = *sizes.video;
    const bool own_kernels = as.own_kernels && as.dtype == "bfloat16" && !as.on_gpu;
    int64_t vae = video.vae * (as.dtype == "float16" ? 4 : each);
    if (own_kernels) vae = vae * 16 / 9;  // all but all of it are convolutions
    WeightBytes bytes;
    bytes.networks = in_blocks(video.transformers * each + vae, as);
    bytes.text_encoders = bytes.largest_text_encoder =
        static_cast<uint64_t>(video.text_encoder * each);
    return bytes;
  }
  LoadedAs plain = as;
  plain.quantization = Quantization::none;
  const bool wide = as.dtype == "float16" && sizes.vae_in_float32;
  WeightBytes bytes;
  bytes.networks =
      network_bytes(sizes.unet, as, each) + network_bytes(sizes.vae, plain, wide ? 4 : each);
  bytes.text_encoders =
      static_cast<uint64_t>((sizes.first_text_encoder + sizes.second_text_encoder) * each);
  bytes.largest_text_encoder =
      static_cast<uint64_t>(std::max(sizes.first_text_encoder, sizes.second_text_encoder) * each);
  return bytes;
}

uint64_t clip_bytes(const VideoSizes& sizes, const LoadedAs& as, const ClipShape& shape) {
  const int64_t each = value_bytes(as.dtype);
  return clip_bytes(sizes, shape, each, as.dtype == "float16" ? 4 : each);
}

uint64_t decode_bytes(std::span<const int64_t> channels, int64_t value_bytes, int64_t width,
                      int64_t height) {
  // Of the last upsampling, which is the widest; measured.
  constexpr int64_t half_maps = 15;
  const int64_t last = channels.empty() ? 0 : channels[channels.size() > 1 ? 1 : 0];
  return static_cast<uint64_t>(half_maps * last * value_bytes * width * height / 2);
}

uint64_t working_bytes(const ModelSizes& sizes, const LoadedAs& as, const PictureShape& shape,
                       int64_t together) {
  constexpr uint64_t scratch = 16_MiB;     // of kernels, and what they are compiled into
  constexpr uint64_t most_left = 256_MiB;  // of denoising, while pictures are decoded
  constexpr int64_t skips = 3;             // feature maps that each level keeps for the way up
  constexpr int64_t at_work = 16;  // a block's maps, with the eight-fold width of a gated layer
  const int64_t each = value_bytes(as.dtype);
  const int64_t vae_each = as.dtype == "float16" && sizes.vae_in_float32 ? 4 : each;
  const auto reduction = int64_t{1} << (std::max<size_t>(sizes.vae_channels.size(), 1) - 1);
  int64_t pixels = (shape.width / reduction) * (shape.height / reduction);
  int64_t kept = 0, widest = 0;
  for (const int64_t channels : sizes.unet_channels) {
    kept += skips * channels * pixels;
    widest = std::max(widest, at_work * channels * pixels);
    pixels /= 4;
  }
  const auto denoise =
      static_cast<uint64_t>((kept + widest) * (shape.guidance ? 2 : 1) * each * together);
  const bool tiled = shape.tiled && sizes.vae_tile > 0;
  const uint64_t one = decode_bytes(sizes.vae_channels, vae_each,
                                    tiled ? std::min(shape.width, sizes.vae_tile) : shape.width,
                                    tiled ? std::min(shape.height, sizes.vae_tile) : shape.height);
  const auto slice =
      tiled ? int64_t{1}
            : std::clamp<int64_t>(static_cast<int64_t>(decode_budget / std::max<uint64_t>(one, 1)),
                                  1, together);
  const auto picture = static_cast<uint64_t>(3 * shape.width * shape.height);
  // Our own kernels enlarge a map without writing it, and rearrange none.
  const bool lean = as.own_kernels && vae_each == 2 && !as.on_gpu;
  const uint64_t decode = (lean ? one - one / 5 : one) * static_cast<uint64_t>(slice);
  return std::max(denoise, decode + std::min(denoise, most_left)) + scratch +
         picture * static_cast<uint64_t>(2 * together);
}

}  // namespace backlot
