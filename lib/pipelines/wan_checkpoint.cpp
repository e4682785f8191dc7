#include "pipelines/wan_checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstring>
#include <utility>
#include <vector>

#include "base/sha256.h"

namespace backlot {
namespace {

// SHA-256 of all behind it, a line of JSON, the tensors' bytes one after another.
constexpr size_t hash_length = 64;

constexpr std::pair<at::ScalarType, const char*> dtypes[] = {
    {at::kFloat, "float32"}, {at::kDouble, "float64"}, {at::kBFloat16, "bfloat16"},
    {at::kHalf, "float16"},  {at::kLong, "int64"},     {at::kByte, "uint8"}};

const char* dtype_name(at::ScalarType dtype) {
  for (const auto& [known, name] : dtypes)
    if (known == dtype) return name;
  TORCH_CHECK(false, "a sampler remembers a tensor of another type");
}

class Packer : public SchedulerMemory {
 public:
  void tensor(at::Tensor& tensor) override { add(tensor); }
  void tensors(std::vector<at::Tensor>& tensors) override {
    list_.push_back(Json{{"count", tensors.size()}});
    for (auto& each : tensors) add(each);
  }
  void number(int64_t& number) override { add_number(number); }

  void add_number(int64_t number) { list_.push_back(Json{{"number", number}}); }

  void add(const at::Tensor& tensor) {
    if (!tensor.defined()) {
      list_.push_back(nullptr);
      return;
    }
    const auto host = tensor.cpu().contiguous();
    list_.push_back(Json{{"dtype", dtype_name(host.scalar_type())}, {"shape", host.sizes().vec()}});
    data_.append(static_cast<const char*>(host.const_data_ptr()), host.nbytes());
  }

  std::string bytes(const Json& about, int64_t done) const {
    const Json head = {{"about", about}, {"done", done}, {"state", list_}};
    const std::string body = head.dump() + "\n" + data_;
    return sha256_hex(body) + body;
  }

 private:
  Json list_ = Json::array();
  std::string data_;
};

// Reads in the order in which a Packer wrote; throws Json::exception or c10::Error at what does not
// fit.
class Unpacker : public SchedulerMemory {
 public:
  Unpacker(const Json& list, std::string_view data, at::Device device)
      : list_(list), data_(data), device_(device) {}

  void tensor(at::Tensor& tensor) override { tensor = take_to_device(); }
  void tensors(std::vector<at::Tensor>& tensors) override {
    const auto count = next().at("count").get<size_t>();
    TORCH_CHECK(count <= list_.size(), "more tensors than there are");
    tensors.clear();
    for (size_t i = 0; i < count; ++i) tensors.push_back(take_to_device());
  }
  void number(int64_t& number) override { number = next().at("number").get<int64_t>(); }

  bool at_end() const { return at_ == list_.size(); }

  at::Tensor take() {
    const Json& facts = next();
    if (facts.is_null()) return {};
    const auto shape = facts.at("shape").get<std::vector<int64_t>>();
    for (const auto& [dtype, name] : dtypes) {
      if (facts.at("dtype") != name) continue;
      auto tensor = at::empty(shape, dtype);
      TORCH_CHECK(tensor.nbytes() <= data_.size(), "fewer bytes than a tensor has");
      std::memcpy(tensor.mutable_data_ptr(), data_.data(), tensor.nbytes());
      data_.remove_prefix(tensor.nbytes());
      return tensor;
    }
    TORCH_CHECK(false, "no such type of numbers");
  }

 private:
  const Json& next() { return list_.at(at_++); }

  at::Tensor take_to_device() {
    const auto tensor = take();
    return tensor.defined() ? tensor.to(device_) : tensor;
  }

  const Json& list_;
  std::string_view data_;
  at::Device device_;
  size_t at_ = 0;
};

}  // namespace

std::string pack_checkpoint(const Json& about, int64_t done,
                            const std::vector<at::Tensor>& finished, const at::Tensor& latents,
                            const at::Tensor& noise, Scheduler& scheduler,
                            const std::vector<at::Tensor>& more) {
  Packer packer;
  packer.add_number(std::ssize(finished));
  for (const auto& scene : finished) packer.add(scene);
  packer.add(latents);
  packer.add(noise);
  scheduler.show_memory(packer);
  for (const auto& tensor : more) packer.add(tensor);
  return packer.bytes(about, done);
}

std::optional<Unpacked> unpack_checkpoint(std::string_view bytes, const Json& about,
                                          Scheduler& scheduler, at::Device device) {
  if (bytes.size() <= hash_length) return std::nullopt;
  const std::string_view body = bytes.substr(hash_length);
  if (sha256_hex(body) != bytes.substr(0, hash_length)) return std::nullopt;
  const size_t end = body.find('\n');
  const Json head = Json::parse(body.substr(0, end), nullptr, false);
  if (end == std::string_view::npos || !head.is_object() || head.value("about", Json()) != about)
    return std::nullopt;
  // Past the hash all is as it was written: what follows can't fail half-way.
  Unpacker unpacker(head.at("state"), body.substr(end + 1), device);
  Unpacked state;
  state.done = head.at("done").get<int64_t>();
  int64_t finished = 0;
  unpacker.number(finished);
  for (int64_t i = 0; i < finished; ++i) state.finished.push_back(unpacker.take());
  state.latents = unpacker.take();
  state.noise = unpacker.take();
  scheduler.show_memory(unpacker);
  while (!unpacker.at_end()) state.more.push_back(unpacker.take());
  return state;
}

}  // namespace backlot
