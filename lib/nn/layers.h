// The layers that every network is made of, bound to a checkpoint by the names it uses.
// Pictures and feature maps are [B, C, H, W] in channels-last memory, tokens are [B, L, C]: one is
// a view of the other, so nothing is transposed between convolutions and attention.
//
// On the CPU a layer keeps its weights only in the blocked layout of oneDNN's kernels, made once
// when it is bound; elsewhere, and in dtypes that oneDNN does not take there, as they come.
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <memory>
#include <optional>

#include "nn/quantized.h"
#include "weights/weights.h"

namespace backlot {

using at::Tensor;

enum class Bias { learned, none };

struct LinearParameters {
  LinearParameters(Tensor weight, std::optional<Tensor> bias,
                   Quantization quantization = Quantization::none);
  LinearParameters(const Weights& w, int64_t in, int64_t out, Bias bias = Bias::learned);

  Tensor weight;  // [out, in]
  std::optional<Tensor> bias;
  Quantization quantization;  // what the weight may be narrowed to
};

// Several layers over the same input as one: their outputs side by side.
LinearParameters side_by_side(std::initializer_list<LinearParameters> parts);

class Linear {
 public:
  explicit Linear(LinearParameters parameters);
  Linear(const Weights& w, int64_t in, int64_t out, Bias bias = Bias::learned)
      : Linear(LinearParameters(w, in, out, bias)) {}

  // x: [..., in] -> [..., out]
  Tensor operator()(const Tensor& x) const;

 private:
  Tensor weight_;  // blocked, or [out, in]; undefined if quantized
  std::optional<Tensor> bias_;
  std::shared_ptr<const QuantizedLayer> quantized_;
};

struct ConvShape {
  int64_t kernel = 3, stride = 1, padding = 1;
};

class Conv2d {
 public:
  Conv2d(const Weights& w, int64_t in, int64_t out, ConvShape shape = {});

  // x: [B, in, H, W] -> [B, out, H', W']
  Tensor operator()(const Tensor& x) const;

  at::ScalarType dtype() const { return bias_.scalar_type(); }

 private:
  Tensor weight_, bias_;  // blocked, or [out, in, kernel, kernel], undefined if quantized; [out]
  int64_t stride_, padding_;
  std::shared_ptr<const QuantizedLayer> quantized_;
};

// A 1x1 convolution, which is a linear layer over every pixel.
class Conv1x1 {
 public:
  Conv1x1(const Weights& w, int64_t in, int64_t out);

  // x: [B, in, H, W] -> [B, out, H, W]
  Tensor operator()(const Tensor& x) const;

 private:
  Linear linear_;
};

// [B, C, H, W] -> [B, H * W, C] and back; views of channels-last memory.
Tensor to_tokens(const Tensor& map);
Tensor to_map(const Tensor& tokens, int64_t height, int64_t width);

}  // namespace backlot
