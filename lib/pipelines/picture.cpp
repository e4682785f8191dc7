#include "pipelines/picture.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "base/error.h"
#include "nn/fused.h"
#include "pipelines/device_time.h"

namespace backlot {

namespace {

// On the host, sooner or later: a copy from a device is still under way when this returns.
at::Tensor download(const at::Tensor& bytes) {
  if (bytes.device().is_cpu()) return bytes;
  const auto host = at::empty(bytes.sizes(), at::TensorOptions(at::kByte).pinned_memory(true));
  host.copy_(bytes, /*non_blocking=*/true);
  return host;
}

}  // namespace

PicturesInFlight::PicturesInFlight(const at::Tensor& decoded)
    : count_(decoded.size(0)),
      height_(decoded.size(2)),
      width_(decoded.size(3)),
      bytes_(download(fused::to_bytes(decoded))) {}

Picture PicturesInFlight::take(int64_t index) const {
  const int64_t size = height_ * width_ * 3;
  const auto* bytes = bytes_.const_data_ptr<uint8_t>();
  if (bytes[count_ * size + index] != 0) {
    throw ItemError("picture", "the model's numbers left the range of its precision",
                    "use --dtype bfloat16 or float32");
  }
  const auto* pixels = bytes + index * size;
  return {.width = width_, .height = height_, .rgb = {pixels, pixels + size}};
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
  return upload(at::cat(items), device_);
}

at::Tensor NoiseBatch::state(size_t item) const { return generators_.at(item).get_state(); }

void NoiseBatch::set_state(size_t item, const at::Tensor& state) {
  generators_.at(item).set_state(state);
}

}  // namespace backlot
