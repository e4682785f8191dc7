#include "nn/layers.h"

#include <ATen/ATen.h>

namespace backlot {

Linear::Linear(const Weights& w, int64_t in, int64_t out, Bias with)
    : weight(w("weight", {out, in})) {
  if (with == Bias::learned) bias = w("bias", {out});
}

Tensor Linear::operator()(const Tensor& x) const { return at::linear(x, weight, bias); }

FusedLinear::FusedLinear(std::initializer_list<Linear> parts) {
  std::vector<Tensor> weights, biases;
  for (const auto& part : parts) {
    weights.push_back(part.weight);
    if (part.bias) biases.push_back(*part.bias);
  }
  weight = at::cat(weights);
  if (!biases.empty()) bias = at::cat(biases);
}

Tensor FusedLinear::operator()(const Tensor& x) const { return at::linear(x, weight, bias); }

Conv2d::Conv2d(const Weights& w, int64_t in, int64_t out, ConvShape shape)
    : weight(w("weight", {out, in, shape.kernel, shape.kernel})
                 .contiguous(at::MemoryFormat::ChannelsLast)),
      bias(w("bias", {out})),
      stride(shape.stride),
      padding(shape.padding) {}

Tensor Conv2d::operator()(const Tensor& x) const {
  return at::conv2d(x, weight, bias, {stride, stride}, {padding, padding});
}

Conv1x1::Conv1x1(const Weights& w, int64_t in, int64_t out)
    : weight(w("weight", {out, in, 1, 1}).view({out, in})), bias(w("bias", {out})) {}

Tensor Conv1x1::operator()(const Tensor& x) const {
  return to_map(at::linear(to_tokens(x), weight, bias), x.size(2), x.size(3));
}

Tensor to_tokens(const Tensor& map) {
  return map.contiguous(at::MemoryFormat::ChannelsLast).permute({0, 2, 3, 1}).flatten(1, 2);
}

Tensor to_map(const Tensor& tokens, int64_t height, int64_t width) {
  return tokens.unflatten(1, at::IntArrayRef({height, width})).permute({0, 3, 1, 2});
}

}  // namespace backlot
