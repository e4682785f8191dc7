#include "nn/layers.h"

#include <ATen/ATen.h>

#include "nn/blocked.h"
#include "nn/fused.h"

namespace backlot {

LinearParameters::LinearParameters(Tensor weight, std::optional<Tensor> bias,
                                   Quantization quantization)
    : weight(std::move(weight)), bias(std::move(bias)), quantization(quantization) {}

LinearParameters::LinearParameters(const Weights& w, int64_t in, int64_t out, Bias with)
    : weight(w("weight", {out, in})), quantization(w.quantization()) {
  if (with == Bias::learned) bias = w("bias", {out});
}

LinearParameters side_by_side(std::initializer_list<LinearParameters> parts) {
  std::vector<Tensor> weights, biases;
  for (const auto& part : parts) {
    weights.push_back(part.weight);
    if (part.bias) biases.push_back(*part.bias);
  }
  return {at::cat(weights),
          biases.empty() ? std::optional<Tensor>() : std::optional<Tensor>(at::cat(biases)),
          parts.begin()->quantization};
}

Linear::Linear(LinearParameters parameters)
    : quantized_(quantized_linear(parameters.quantization, parameters.weight, parameters.bias)),
      bias_(std::move(parameters.bias)) {
  if (quantized_) return;
  packed_ = PackedLinear::make(parameters.weight, bias_);
  if (packed_) return;
  weight_ = blocked::serves(parameters.weight) ? blocked::linear_weight(parameters.weight)
                                               : std::move(parameters.weight);
}

Tensor Linear::operator()(const Tensor& x) const {
  if (quantized_) return (*quantized_)(x);
  if (packed_) return (*packed_)(x);
  return weight_.is_mkldnn() ? blocked::linear(x, weight_, bias_) : at::linear(x, weight_, bias_);
}

Tensor Linear::plus(const Tensor& x, const Tensor& residual) const {
  return packed_ ? (*packed_)(x, &residual) : (*this)(x).add_(residual);
}

Geglu::Geglu(const Weights& w, int64_t in, int64_t out) {
  LinearParameters parameters(w, in, 2 * out);
  if (parameters.quantization == Quantization::none) {
    packed_ = PackedLinear::make(parameters.weight, parameters.bias, kernels::Gate::gelu);
  }
  if (!packed_) linear_.emplace(std::move(parameters));
}

Tensor Geglu::operator()(const Tensor& x) const {
  return packed_ ? (*packed_)(x) : fused::geglu((*linear_)(x));
}

GeluLinear::GeluLinear(const Weights& w, int64_t in, int64_t out) {
  LinearParameters parameters(w, in, out);
  if (parameters.quantization == Quantization::none) {
    packed_ = PackedLinear::make(parameters.weight, parameters.bias, kernels::Gate::none,
                                 kernels::Activation::gelu_tanh);
  }
  if (!packed_) linear_.emplace(std::move(parameters));
}

Tensor GeluLinear::operator()(const Tensor& x) const {
  if (packed_) return (*packed_)(x);
  auto y = (*linear_)(x);
  return at::gelu_(y, "tanh");
}

Conv2d::Conv2d(Tensor weight, Tensor bias, Quantization quantization, ConvShape shape)
    : weight_(std::move(weight)),
      bias_(std::move(bias)),
      stride_(shape.stride),
      padding_(shape.padding) {
  if (shape.kernel == 3 && stride_ == 1 && padding_ == 1) {
    winograd_ = WinogradConv::make(weight_, bias_, kernels::Enlarge::no);
  }
  // Faster than int8's direct convolutions, and closer to the reference.
  if (!winograd_) {
    quantized_ = quantized_conv2d(quantization, weight_, bias_, stride_, padding_);
  }
  if (winograd_ || quantized_) {
    weight_.reset();
  } else {
    weight_ = blocked::serves(weight_) ? blocked::conv2d_weight(weight_, stride_, padding_)
                                       : weight_.contiguous(at::MemoryFormat::ChannelsLast);
  }
}

Tensor Conv2d::operator()(const Tensor& x) const {
  if (winograd_) return (*winograd_)(x);
  if (quantized_) return (*quantized_)(x);
  return weight_.is_mkldnn()
             ? blocked::conv2d(x, weight_, bias_, stride_, padding_)
             : at::conv2d(x, weight_, bias_, {stride_, stride_}, {padding_, padding_});
}

Tensor Conv2d::shifted(const Tensor& x, const Tensor& shift) const {
  if (winograd_) return (*winograd_)(x, &shift);
  return (*this)(x).add_(shift.unsqueeze(-1).unsqueeze(-1));
}

Tensor Conv2d::plus(const Tensor& x, const Tensor& residual) const {
  if (winograd_) return (*winograd_)(x, nullptr, &residual);
  return (*this)(x).add_(residual);
}

Tensor Conv2d::without_bias(const Tensor& x) const {
  return at::conv2d(x, weight_, {}, {stride_, stride_}, {padding_, padding_});
}

Conv1x1::Conv1x1(const Weights& w, int64_t in, int64_t out)
    : linear_(LinearParameters(w("weight", {out, in, 1, 1}).view({out, in}), w("bias", {out}),
                               w.quantization())) {}

Tensor Conv1x1::operator()(const Tensor& x) const {
  return to_map(linear_(to_tokens(x)), x.size(2), x.size(3));
}

Tensor to_tokens(const Tensor& map) {
  return map.contiguous(at::MemoryFormat::ChannelsLast).permute({0, 2, 3, 1}).flatten(1, 2);
}

Tensor to_map(const Tensor& tokens, int64_t height, int64_t width) {
  return tokens.unflatten(1, at::IntArrayRef({height, width})).permute({0, 3, 1, 2});
}

}  // namespace backlot
