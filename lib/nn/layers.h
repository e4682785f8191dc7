// The layers that every network is made of, bound to a checkpoint by the names it uses.
// Pictures and feature maps are [B, C, H, W] in channels-last memory, tokens are [B, L, C]: one is
// a view of the other, so nothing is transposed between convolutions and attention.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "weights/weights.h"

namespace backlot {

using at::Tensor;

enum class Bias { learned, none };

struct Linear {
  Linear(const Weights& w, int64_t in, int64_t out, Bias bias = Bias::learned);

  // x: [..., in] -> [..., out]
  Tensor operator()(const Tensor& x) const;

  Tensor weight;
  std::optional<Tensor> bias;
};

// Several linear layers over the same input as one matrix: their outputs side by side.
struct FusedLinear {
  explicit FusedLinear(std::initializer_list<Linear> parts);

  // x: [..., in] -> [..., sum of the parts' outputs]
  Tensor operator()(const Tensor& x) const;

  Tensor weight;
  std::optional<Tensor> bias;
};

struct ConvShape {
  int64_t kernel = 3, stride = 1, padding = 1;
};

struct Conv2d {
  Conv2d(const Weights& w, int64_t in, int64_t out, ConvShape shape = {});

  // x: [B, in, H, W] -> [B, out, H', W']
  Tensor operator()(const Tensor& x) const;

  Tensor weight, bias;
  int64_t stride, padding;
};

// A 1x1 convolution, which is a linear layer over every pixel.
struct Conv1x1 {
  Conv1x1(const Weights& w, int64_t in, int64_t out);

  // x: [B, in, H, W] -> [B, out, H, W]
  Tensor operator()(const Tensor& x) const;

  Tensor weight, bias;
};

// [B, C, H, W] -> [B, H * W, C] and back; views of channels-last memory.
Tensor to_tokens(const Tensor& map);
Tensor to_map(const Tensor& tokens, int64_t height, int64_t width);

}  // namespace backlot
