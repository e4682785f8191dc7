// An operator of a network at one shape: what it costs on paper, and how to run it alone.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nn/layers.h"

namespace backlot {

// What a kernel computes on: made up, in the dtype and on the device of the measurement.
class Workbench {
 public:
  Workbench(at::ScalarType dtype, at::Device device);

  // Values in (-1, 1). The same shape gives the same tensor: inputs were just computed when a
  // network reads them, weights were not.
  Tensor input(std::vector<int64_t> shape);

  // [B, C, H, W] in channels-last memory
  Tensor map(int64_t batch, int64_t channels, int64_t height, int64_t width);

  // New memory for each layer that is made of them.
  Weights weights() { return binding_.root(); }

 private:
  at::TensorOptions options_;
  RandomWeights random_;
  Binding binding_;
  std::map<std::vector<int64_t>, Tensor> inputs_;
};

using Call = std::function<void()>;

struct Kernel {
  std::string name;                             // "conv3x3", in a plan "unet/conv3x3"
  std::string shape;                            // for people
  double flops = 0;                             // of one call's products and convolutions
  double weights = 0, inputs = 0, outputs = 0;  // values of one call
  std::function<Call(Workbench&)> make;         // a layer with weights of its own
  int64_t calls = 1;                            // in one evaluation of the network
  bool float32_for_half = false;                // belongs to a network that float16 overflows in
};

// The kernels of networks' evaluations, those alike as one.
class KernelPlan {
 public:
  // `network` goes before each name: "unet".
  void add(std::string_view network, Kernel kernel, int64_t calls = 1);

  // Network by network, in the order in which each was first met.
  std::vector<Kernel> take();

 private:
  std::vector<std::pair<std::string, std::vector<Kernel>>> networks_;
  std::map<std::pair<std::string, std::string>, size_t> places_;  // by name and shape
};

}  // namespace backlot
