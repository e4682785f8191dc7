#include "pipelines/picture.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cstring>

#include "base/error.h"

namespace backlot {

std::vector<Picture> to_pictures(const at::Tensor& decoded) {
  const auto x = decoded.to(at::kFloat);
  if (!at::isfinite(x).all().item<bool>()) {
    throw ItemError("picture", "the model's numbers left the range of its precision",
                    "use --dtype bfloat16 or float32");
  }
  const auto bytes = x.mul(0.5)
                         .add_(0.5)
                         .clamp_(0, 1)
                         .mul_(255)
                         .round_()
                         .to(at::kByte)
                         .permute({0, 2, 3, 1})
                         .contiguous()
                         .to(at::kCPU);  // [B, H, W, 3]
  const size_t size = static_cast<size_t>(bytes.size(1) * bytes.size(2) * 3);
  std::vector<Picture> pictures(bytes.size(0));
  for (size_t i = 0; i < pictures.size(); ++i) {
    pictures[i].height = bytes.size(1);
    pictures[i].width = bytes.size(2);
    pictures[i].rgb.resize(size);
    std::memcpy(pictures[i].rgb.data(), bytes.const_data_ptr<uint8_t>() + i * size, size);
  }
  return pictures;
}

NoiseBatch::NoiseBatch(const std::vector<uint64_t>& seeds, std::vector<int64_t> shape,
                       at::Device device)
    : shape_(std::move(shape)), device_(device) {
  for (const auto seed : seeds) generators_.push_back(at::detail::createCPUGenerator(seed));
  shape_.insert(shape_.begin(), 1);
}

at::Tensor NoiseBatch::draw() {
  std::vector<at::Tensor> items;
  for (auto& generator : generators_) items.push_back(at::randn(shape_, generator, at::kFloat));
  return at::cat(items).to(device_);
}

}  // namespace backlot
