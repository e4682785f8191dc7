// Binding a checkpoint's tensors to a network: each name is spelled once, in the constructor of the
// module that owns it, in the checkpoint's own words, with its shape.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/quantization.h"
#include "weights/checkpoint.h"
#include "weights/random_weights.h"

namespace backlot {

class Binding;

// A place inside a checkpoint. Modules walk down with `/` and ask for tensors by name, so a model
// file reads like the listing of its checkpoint.
class Weights {
 public:
  Weights operator/(std::string_view child) const;
  Weights operator/(int64_t index) const;

  // The tensor `name` below this place, converted to the binding's dtype and device. If it is
  // missing or has another shape the binding notes it and hands back a placeholder.
  at::Tensor operator()(std::string_view name, at::IntArrayRef shape) const;

  // Carried by the checkpoint, of no use to the model: not an error.
  void skip(std::string_view name) const;

  // Whether the checkpoint has this name here; only for layouts that differ between writers (the
  // "text_model." prefix), never to infer structure.
  bool has(std::string_view name) const;

  // What the layers here may narrow their numbers to, and the same place without leave to do so.
  Quantization quantization() const { return quantization_; }
  Weights in_full() const;

  // The same place with its tensors in `dtype`, whatever the binding's; not quantized.
  Weights in_dtype(at::ScalarType dtype) const;

 private:
  friend class Binding;
  Weights(Binding& binding, std::string prefix, Quantization quantization,
          std::optional<at::ScalarType> dtype = {});
  Binding* binding_;
  std::string prefix_;
  Quantization quantization_;
  std::optional<at::ScalarType> dtype_;  // in place of the binding's
};

// Collects what does not agree between a checkpoint and a model, then says it all at once.
class Binding {
 public:
  Binding(const Checkpoint& checkpoint, at::ScalarType dtype, at::Device device,
          Quantization quantization = Quantization::none);

  // Makes tensors by their names, of this dtype on the CPU; a reader of another layout, which has
  // checked names and shapes.
  using TensorReader = std::function<at::Tensor(std::string_view name)>;
  Binding(TensorReader reader, at::ScalarType dtype, at::Device device);

  // Has every tensor, in whatever shape it is asked for.
  Binding(const RandomWeights& weights, at::ScalarType dtype, at::Device device,
          Quantization quantization = Quantization::none);

  Weights root();

  // Throws one LoadError that lists every missing, misshapen and unused tensor (the first few of
  // each kind, with counts). Call when the model is built.
  void finish() const;

 private:
  friend class Weights;
  struct State;
  std::shared_ptr<State> state_;
  Quantization quantization_;
};

// Builds Model(Weights, config) from a Checkpoint or from RandomWeights, and insists that
// checkpoint and model agree. On the CPU with the file's own dtype tensors are views of the mapping
// (no copy); otherwise they are converted.
template <class Model, class Source, class Config>
Model load(const Source& source, const Config& config, at::ScalarType dtype, at::Device device,
           Quantization quantization = Quantization::none) {
  Binding binding(source, dtype, device, quantization);
  Model model(binding.root(), config);
  binding.finish();
  return model;
}

}  // namespace backlot
