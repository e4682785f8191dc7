// A checkpoint of tensors made in a test.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "weights/weights.h"

namespace backlot {

class MadeWeights {
 public:
  void add(const std::string& name, const at::Tensor& tensor) {
    held_.push_back(tensor.contiguous());
    views_[name] = {DType::f32, tensor.sizes().vec(),
                    std::as_bytes(std::span(held_.back().const_data_ptr<float>(),
                                            static_cast<size_t>(tensor.numel())))};
  }
  Binding binding(at::ScalarType dtype, at::Device device = at::kCPU) const {
    return Binding(Checkpoint("made", {}, views_), dtype, device);
  }

 private:
  std::vector<at::Tensor> held_;
  std::map<std::string, TensorView, std::less<>> views_;
};

}  // namespace backlot
