#include "weights/weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "weights/mismatches.h"

namespace backlot {
namespace {

at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return at::kDouble;
    case DType::f32:
      return at::kFloat;
    case DType::f16:
      return at::kHalf;
    case DType::bf16:
      return at::kBFloat16;
    case DType::f8_e4m3:
      return at::kFloat8_e4m3fn;
    case DType::f8_e5m2:
      return at::kFloat8_e5m2;
    case DType::i64:
      return at::kLong;
    case DType::i32:
      return at::kInt;
    case DType::i16:
      return at::kShort;
    case DType::i8:
      return at::kChar;
    case DType::u8:
      return at::kByte;
    case DType::boolean:
      return at::kBool;
  }
  TORCH_CHECK(false, "no such dtype");
}

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// Gives the pages of a mapped file back once its values were copied, so that loading a model takes
// its size once and not twice. They stay in the system's cache, and would be read again if touched.
void forget_pages(std::span<const std::byte> bytes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace

struct Binding::State {
  State(const Checkpoint& checkpoint, at::ScalarType dtype, at::Device device)
      : checkpoint(std::make_shared<const Checkpoint>(checkpoint)),
        options(at::TensorOptions().dtype(dtype).device(device)) {}
  State(const RandomWeights& weights, at::ScalarType dtype, at::Device device)
      : random(weights), options(at::TensorOptions().dtype(dtype).device(device)) {}

  State(TensorReader reader, at::ScalarType dtype, at::Device device)
      : reader(std::move(reader)), options(at::TensorOptions().dtype(dtype).device(device)) {}

  TensorReader reader;                           // in place of a checkpoint
  std::shared_ptr<const Checkpoint> checkpoint;  // its copy keeps the mapped files alive
  std::optional<RandomWeights> random;           // in place of a checkpoint
  at::TensorOptions options;
  std::set<std::string, std::less<>> used;
  Mismatches mismatches;

  at::Tensor bind(const std::string& name, at::IntArrayRef shape, const at::TensorOptions& as);
  at::Tensor convert(const TensorView& view, const at::TensorOptions& as) const;
  at::Tensor mapped(const TensorView& view, at::IntArrayRef stored) const;

  // Takes no memory, so that a checkpoint of another model is told apart without building it.
  at::Tensor placeholder(at::IntArrayRef shape) const {
    return at::zeros({}, options).expand(shape);
  }
};

at::Tensor Binding::State::bind(const std::string& name, at::IntArrayRef shape,
                                const at::TensorOptions& as) {
  if (random) return random->make(name, shape, as);
  if (reader) {
    const auto tensor = reader(name);
    TORCH_CHECK(tensor.sizes() == shape, name, " has another shape than its config says");
    return tensor.to(as);
  }
  const TensorView* view = checkpoint->find(name);
  if (!view) {
    mismatches.missing.push_back(fmt::format("{} {}", name, shape_text(shape)));
    return placeholder(shape);
  }
  used.insert(name);
  if (at::IntArrayRef(view->shape) != shape) {
    mismatches.misshapen.push_back(
        fmt::format("{} is {}, expected {}", name, shape_text(view->shape), shape_text(shape)));
    return placeholder(shape);
  }
  if (!at::isFloatingType(scalar_type(view->dtype))) {
    mismatches.misshapen.push_back(
        fmt::format("{} holds {}, expected real numbers", name, dtype_name(view->dtype)));
    return placeholder(shape);
  }
  return as.device().is_meta() ? at::empty(shape, as) : convert(*view, as);
}

at::Tensor Binding::State::convert(const TensorView& view, const at::TensorOptions& as) const {
  std::vector<int64_t> stored = view.shape;
  if (view.transposed) std::swap(stored.at(0), stored.at(1));
  at::Tensor tensor = view.bytes.empty() ? at::empty(stored, as) : mapped(view, stored);
  if (view.transposed) tensor = tensor.t();
  return tensor.to(as).contiguous();
}

at::Tensor Binding::State::mapped(const TensorView& view, at::IntArrayRef stored) const {
  const auto type = scalar_type(view.dtype);
  auto* data = const_cast<std::byte*>(view.bytes.data());
  const auto keep = [held = checkpoint, bytes = view.bytes](void*) mutable {
    // Checkpoints without files are in memory of their own, which has no other copy.
    if (!held->files().empty()) forget_pages(bytes);
    held.reset();
  };
  // A header's length is any number, so the data after it need not be aligned as kernels expect.
  if (reinterpret_cast<uintptr_t>(data) % static_cast<size_t>(dtype_bytes(view.dtype)) == 0)
    return at::from_blob(data, stored, keep, type);
  const auto bytes = at::from_blob(data, {static_cast<int64_t>(view.bytes.size())}, at::kByte);
  return bytes.clone().view(type).view(stored);
}

Binding::Binding(const Checkpoint& checkpoint, at::ScalarType dtype, at::Device device,
                 Quantization quantization)
    : state_(std::make_shared<State>(checkpoint, dtype, device)), quantization_(quantization) {}

Binding::Binding(const RandomWeights& weights, at::ScalarType dtype, at::Device device,
                 Quantization quantization)
    : state_(std::make_shared<State>(weights, dtype, device)), quantization_(quantization) {}

Binding::Binding(TensorReader reader, at::ScalarType dtype, at::Device device)
    : state_(std::make_shared<State>(std::move(reader), dtype, device)),
      quantization_(Quantization::none) {}

Weights Binding::root() { return Weights(*this, "", quantization_); }

void Binding::finish() const {
  if (!state_->checkpoint) return;
  Mismatches mismatches = state_->mismatches;
  for (const auto& [name, view] : state_->checkpoint->tensors())
    if (!state_->used.contains(name)) mismatches.unused.push_back(name);
  if (mismatches.empty()) return;
  throw LoadError(state_->checkpoint->where(), mismatches.text(),
                  "its config.json and its weights belong to different models; download both "
                  "again, from the same place");
}

Weights::Weights(Binding& binding, std::string prefix, Quantization quantization,
                 std::optional<at::ScalarType> dtype)
    : binding_(&binding), prefix_(std::move(prefix)), quantization_(quantization), dtype_(dtype) {}

Weights Weights::operator/(std::string_view child) const {
  return Weights(*binding_, fmt::format("{}{}.", prefix_, child), quantization_, dtype_);
}

Weights Weights::operator/(int64_t index) const { return *this / std::to_string(index); }

Weights Weights::in_full() const { return Weights(*binding_, prefix_, Quantization::none, dtype_); }

Weights Weights::in_dtype(at::ScalarType dtype) const {
  return Weights(*binding_, prefix_, Quantization::none, dtype);
}

at::Tensor Weights::operator()(std::string_view name, at::IntArrayRef shape) const {
  auto& state = *binding_->state_;
  return state.bind(fmt::format("{}{}", prefix_, name), shape,
                    dtype_ ? state.options.dtype(*dtype_) : state.options);
}

void Weights::skip(std::string_view name) const {
  binding_->state_->used.insert(fmt::format("{}{}", prefix_, name));
}

bool Weights::has(std::string_view name) const {
  const auto& checkpoint = binding_->state_->checkpoint;
  return checkpoint && checkpoint->find(fmt::format("{}{}", prefix_, name)) != nullptr;
}

}  // namespace backlot
