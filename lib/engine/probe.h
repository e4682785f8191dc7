// What `backlot bench kernels` asks of the engine: the device's ceilings and the time of every
// operator that a network is made of. And the architectures that can be measured without a
// download.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/precision.h"

namespace backlot {

// What the device reaches at its best, measured: a large matrix product and a large copy.
struct Ceilings {
  double flops_per_second = 0;  // one multiply-add counts as two
  double bytes_per_second = 0;  // read and written both counted
  std::string dtype;            // of the product
};

struct KernelRequest {
  std::string architecture = "sdxl";  // one of synthetic_architectures(), or a model folder
  Precision precision = Precision::automatic;
  std::vector<std::string> filters;  // keep kernels whose name holds one of these; empty: all
  // Of the picture or clip that the shapes belong to; a clip has 81 frames, a prompt 512 tokens.
  int64_t batch = 1, width = 1024, height = 1024;
  int repeats = 5;
  double seconds_each = 0.2;  // least time of one repeat; calls are repeated until it is reached
};

struct KernelFigure {
  std::string name;             // "unet/conv3x3", "vae.decoder/group_norm_silu", …
  std::string shape;            // "1x320x128x128 -> 320", for people
  int64_t calls = 0;            // of that shape in one evaluation of its network
  double flops = 0;             // of one call's products and convolutions; 0: it has none
  double bytes = 0;             // of one call: inputs, weights and outputs, once each
  std::vector<double> seconds;  // of one call, a value a repeat
};

using KernelListener = std::function<void(const KernelFigure&)>;

// Every architecture whose full size can be had with random weights: "sdxl", "wan-1.3b", …
std::vector<std::string> synthetic_architectures();

// Whether load_image_pipeline() can run it: an image architecture of that list, or the folder of a
// model, of which the configs alone are read. The others have kernels only.
bool synthetic_pipeline(std::string_view name);

}  // namespace backlot
