// The layers that every network is made of, bound to a checkpoint by the names it uses.
// Pictures and feature maps are [B, C, H, W] in channels-last memory, tokens are [B, L, C]: one is
// a view of the other, so nothing is transposed between convolutions and attention.
//
// On the CPU a layer keeps its weights only in the layout of the kernels that it runs on, made once
// when it is bound: our own in bfloat16, oneDNN's for the rest; elsewhere, and in dtypes that those
// do not take, as they come.
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <memory>
#include <optional>

#include "nn/packed_linear.h"
#include "nn/quantized.h"
#include "nn/winograd.h"
#include "weights/weights.h"

namespace backlot {

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

  // With residual added: [..., out]; without a pass of its own if adds_residual().
  Tensor plus(const Tensor& x, const Tensor& residual) const;
  bool adds_residual() const { return packed_.has_value(); }

 private:
  std::shared_ptr<const QuantizedLayer> quantized_;
  std::optional<PackedLinear> packed_;
  Tensor weight_;  // blocked, or [out, in]; undefined with one of the above
  std::optional<Tensor> bias_;
};

// A linear layer whose output's first half is multiplied by the GELU of its second.
class Geglu {
 public:
  Geglu(const Weights& w, int64_t in, int64_t out);

  // x: [..., in] -> [..., out]
  Tensor operator()(const Tensor& x) const;

 private:
  std::optional<PackedLinear> packed_;
  std::optional<Linear> linear_;  // if not packed
};

// A linear layer and GELU by its tanh approximation.
class GeluLinear {
 public:
  GeluLinear(const Weights& w, int64_t in, int64_t out);

  // x: [..., in] -> [..., out]
  Tensor operator()(const Tensor& x) const;

 private:
  std::optional<PackedLinear> packed_;
  std::optional<Linear> linear_;  // if not packed
};

struct ConvShape {
  int64_t kernel = 3, stride = 1, padding = 1;
};

class Conv2d {
 public:
  // weight: [out, in, kernel, kernel], bias: [out]
  Conv2d(Tensor weight, Tensor bias, Quantization quantization, ConvShape shape = {});
  Conv2d(const Weights& w, int64_t in, int64_t out, ConvShape shape = {})
      : Conv2d(w("weight", {out, in, shape.kernel, shape.kernel}), w("bias", {out}),
               w.quantization(), shape) {}

  // x: [B, in, H, W] -> [B, out, H', W']
  Tensor operator()(const Tensor& x) const;

  // With shift added to every pixel: [B, out]
  Tensor shifted(const Tensor& x, const Tensor& shift) const;

  // With residual added: [B, out, H', W']
  Tensor plus(const Tensor& x, const Tensor& residual) const;

  // Where the kernel adds the bias after its work, in a pass of its own, whoever comes next had
  // better add it along with something else.
  bool adds_bias_apart() const { return weight_.defined() && !weight_.is_mkldnn(); }
  Tensor without_bias(const Tensor& x) const;  // only if adds_bias_apart()
  const Tensor& bias() const { return bias_; }

  at::ScalarType dtype() const { return bias_.scalar_type(); }

 private:
  std::optional<WinogradConv> winograd_;
  std::shared_ptr<const QuantizedLayer> quantized_;
  Tensor weight_;  // blocked, or [out, in, kernel, kernel]; undefined with one of the above
  Tensor bias_;    // [out]
  int64_t stride_, padding_;
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
