// backlot's operators on CUDA tensors: checks, memory for results, and a launch.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <initializer_list>

#include "cuda/kernels.h"

namespace backlot::cuda {
namespace {
namespace operators {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

Type type_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return Type::float32;
    case at::kBFloat16:
      return Type::bfloat16;
    case at::kHalf:
      return Type::float16;
    default:
      TORCH_CHECK(false, "backlot's CUDA kernels take float32, bfloat16 or float16, not ",
                  x.scalar_type());
  }
}

int processors_of(const Tensor& x) {
  int count = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, x.get_device()));
  return count;
}

// Also that the others are as the first one is. Call with the device of the first one current.
Launch launch_for(std::initializer_list<const Tensor*> tensors) {
  const Tensor& first = **tensors.begin();
  bool aligned = true;
  for (const Tensor* tensor : tensors) {
    TORCH_CHECK(tensor->device() == first.device() && tensor->scalar_type() == first.scalar_type(),
                "tensors of one device and dtype are needed");
    aligned = aligned && reinterpret_cast<uintptr_t>(tensor->const_data_ptr()) % 16 == 0;
  }
  return {.type = type_of(first),
          .aligned = aligned,
          .processors = processors_of(first),
          .stream = c10::cuda::getCurrentCUDAStream(first.get_device())};
}

const void* data_or_null(const OptionalTensor& tensor) {
  return tensor ? tensor->const_data_ptr() : nullptr;
}

Tensor group_norm(const Tensor& x, const OptionalTensor& shift, int64_t groups,
                  const Tensor& weight, const Tensor& bias, double eps, bool silu) {
  TORCH_CHECK(x.dim() == 4 && groups > 0 && x.size(1) % groups == 0 && weight.numel() == x.size(1),
              "group_norm takes [B, C, H, W] and weights of C");
  TORCH_CHECK(x.size(1) <= most_channels, "group_norm takes at most ", most_channels, " channels");
  const c10::cuda::CUDAGuard guard(x.device());
  const auto in = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto y = at::empty_like(in);
  if (in.numel() == 0) return y;
  const auto w = weight.contiguous(), b = bias.contiguous();
  // A shift for the whole batch has one row.
  const auto s = shift ? OptionalTensor(shift->expand({x.size(0), x.size(1)})) : std::nullopt;
  TORCH_CHECK(!s || s->stride(1) == 1, "a shift's channels lie side by side");
  auto launch = launch_for({&in, &w, &b, s ? &*s : &in});
  // Only the map itself is read by vectors.
  launch.aligned = launch_for({&in, &y}).aligned;
  const GroupNorm norm{.x = in.const_data_ptr(),
                       .shift = data_or_null(s),
                       .shift_stride = s ? s->stride(0) : 0,
                       .weight = w.const_data_ptr(),
                       .bias = b.const_data_ptr(),
                       .y = y.mutable_data_ptr(),
                       .batch = in.size(0),
                       .pixels = in.size(2) * in.size(3),
                       .channels = in.size(1),
                       .groups = groups,
                       .pivot = in.size(2) / 2 * in.size(3) + in.size(3) / 2,
                       .eps = eps,
                       .silu = silu};
  const auto workspace = at::empty({static_cast<int64_t>(group_norm_workspace(norm, launch))},
                                   in.options().dtype(at::kFloat));
  cuda::group_norm(norm, workspace.mutable_data_ptr<float>(), launch);
  return y;
}

Tensor normalise_rows(const Tensor& x, const OptionalTensor& added, const Tensor& weight,
                      const Tensor& bias, double eps, const OptionalTensor& scale,
                      const OptionalTensor& shift) {
  const int64_t width = weight.numel();
  TORCH_CHECK(x.dim() > 0 && x.size(-1) == width && bias.numel() == width,
              "layer_norm takes rows as wide as its weights");
  const auto out = at::empty_like(x);
  if (x.numel() == 0) return out;
  const auto w = weight.contiguous(), b = bias.contiguous();
  const auto contiguous = [](const OptionalTensor& tensor) {
    return tensor ? OptionalTensor(tensor->contiguous()) : std::nullopt;
  };
  const auto y = contiguous(added), by = contiguous(scale), moved = contiguous(shift);
  const int64_t rows = x.numel() / width;
  int64_t rows_per_item = rows;
  for (const auto& each : {by, moved}) {
    if (!each) continue;
    TORCH_CHECK(
        x.dim() == 3 && each->dim() == 2 && each->size(0) == x.size(0) && each->size(1) == width,
        "AdaLN takes [B, L, D] with scale and shift of [B, D]");
    rows_per_item = x.size(1);
  }
  TORCH_CHECK(!y || y->sizes() == x.sizes(), "what is added has another shape");
  const auto launch =
      launch_for({&x, &out, &w, &b, y ? &*y : &x, by ? &*by : &x, moved ? &*moved : &x});
  // x is written only if there is something to add.
  cuda::layer_norm({.x = const_cast<void*>(x.const_data_ptr()),
                    .y = data_or_null(y),
                    .weight = w.const_data_ptr(),
                    .bias = b.const_data_ptr(),
                    .scale = data_or_null(by),
                    .shift = data_or_null(moved),
                    .rows = rows,
                    .width = width,
                    .rows_per_item = rows_per_item,
                    .out = out.mutable_data_ptr(),
                    .eps = eps},
                   launch);
  return out;
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                  const OptionalTensor& scale, const OptionalTensor& shift) {
  const c10::cuda::CUDAGuard guard(x.device());
  return normalise_rows(x.contiguous(), {}, weight, bias, eps, scale, shift);
}

Tensor add_layer_norm_(const Tensor& x, const Tensor& y, const Tensor& weight, const Tensor& bias,
                       double eps) {
  const c10::cuda::CUDAGuard guard(x.device());
  if (x.is_contiguous()) return normalise_rows(x, y, weight, bias, eps, {}, {});
  x.add_(y);
  return normalise_rows(x.contiguous(), {}, weight, bias, eps, {}, {});
}

Tensor geglu(const Tensor& x) {
  TORCH_CHECK(x.dim() > 0 && x.size(-1) % 2 == 0, "geglu takes an even width");
  const c10::cuda::CUDAGuard guard(x.device());
  const auto in = x.contiguous();
  auto sizes = in.sizes().vec();
  const int64_t width = sizes.back() /= 2;
  const auto y = at::empty(sizes, in.options());
  if (y.numel() == 0) return y;
  cuda::geglu(in.const_data_ptr(), y.mutable_data_ptr(), y.numel() / width, width,
              launch_for({&in, &y}));
  return y;
}

Tensor residual_(const Tensor& x, const OptionalTensor& bias, const Tensor& y, double scale) {
  TORCH_CHECK(x.dim() == 4 && y.sizes() == x.sizes() && (!bias || bias->numel() == x.size(1)),
              "residual_ takes maps of one shape");
  if (x.numel() == 0) return x;
  const c10::cuda::CUDAGuard guard(x.device());
  // Not what a channels-last convolution gives.
  if (!x.is_contiguous(at::MemoryFormat::ChannelsLast)) {
    if (bias) x.add_(bias->view({1, -1, 1, 1}));
    return x.add_(y, scale);
  }
  const auto more = y.contiguous(at::MemoryFormat::ChannelsLast);
  const auto b = bias ? OptionalTensor(bias->contiguous()) : std::nullopt;
  auto launch = launch_for({&x, &more, b ? &*b : &x});
  launch.aligned = launch_for({&x, &more}).aligned;
  cuda::residual(x.mutable_data_ptr(), data_or_null(b), more.const_data_ptr(),
                 x.numel() / x.size(1), x.size(1), static_cast<float>(scale), launch);
  return x;
}

Tensor guide(const Tensor& output, const Tensor& scale) {
  TORCH_CHECK(output.dim() == 4 && output.size(0) % 2 == 0 && scale.numel() == output.size(0) / 2 &&
                  scale.scalar_type() == at::kFloat && scale.device() == output.device(),
              "guide takes two halves and a float32 scale for each item");
  const c10::cuda::CUDAGuard guard(output.device());
  const auto format = output.suggest_memory_format();
  const auto in = output.contiguous(format);
  const int64_t items = output.size(0) / 2;
  const auto guided = at::empty({items, output.size(1), output.size(2), output.size(3)},
                                output.options().dtype(at::kFloat), format);
  if (guided.numel() == 0) return guided;
  const auto scales = scale.contiguous();
  cuda::guide(in.const_data_ptr(), scales.const_data_ptr<float>(), guided.mutable_data_ptr<float>(),
              guided.numel(), guided.numel() / items, launch_for({&in}));
  return guided;
}

Tensor to_bytes(const Tensor& decoded) {
  TORCH_CHECK(decoded.dim() == 4 && decoded.size(1) == 3, "to_bytes takes [B, 3, H, W]");
  const c10::cuda::CUDAGuard guard(decoded.device());
  const auto in = decoded.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t items = in.size(0);
  const auto bytes = at::empty({in.numel() + items}, in.options().dtype(at::kByte));
  bytes.narrow(0, in.numel(), items).zero_();
  if (in.numel() == 0) return bytes;
  cuda::to_bytes(in.const_data_ptr(), bytes.mutable_data_ptr<uint8_t>(), items, in.numel() / items,
                 launch_for({&in}));
  return bytes;
}

}  // namespace operators
}  // namespace

TORCH_LIBRARY_IMPL(backlot, CUDA, m) {
  m.impl("group_norm", operators::group_norm);
  m.impl("layer_norm", operators::layer_norm);
  m.impl("add_layer_norm_", operators::add_layer_norm_);
  m.impl("geglu", operators::geglu);
  m.impl("residual_", operators::residual_);
  m.impl("guide", operators::guide);
  m.impl("to_bytes", operators::to_bytes);
}

}  // namespace backlot::cuda
