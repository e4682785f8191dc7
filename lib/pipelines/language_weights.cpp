#include "pipelines/language_weights.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "models/quantize_groups.h"
#include "weights/language_configs.h"
#include "weights/random_weights.h"

namespace backlot {
namespace {

constexpr int64_t rows_at_once = 256;
constexpr int own_group = 32;  // of weights that are packed on loading
constexpr const char* random_place = "model";

// All tensors as float32 or bfloat16 in memory, one after the other as they are asked for.
at::Tensor unpacked(const LanguageTensor& tensor, at::ScalarType dtype) {
  auto out = at::empty(tensor.shape, dtype);
  const int64_t rows = tensor.rows(), columns = tensor.columns();
  const auto flat = out.view({rows, columns});
  at::parallel_for(0, (rows + rows_at_once - 1) / rows_at_once, 1, [&](int64_t begin, int64_t end) {
    const at::InferenceMode inference;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * rows_at_once, count = std::min(rows_at_once, rows - first);
      if (dtype == at::kFloat) {
        read_rows_float32(tensor, first, count, flat.mutable_data_ptr<float>() + first * columns);
        continue;
      }
      auto wide = at::empty({count, columns}, at::kFloat);
      read_rows_float32(tensor, first, count, wide.mutable_data_ptr<float>());
      flat.narrow(0, first, count).copy_(wide);
    }
  });
  return out;
}

// The codes that a GGUF has.
PackableMatrix stored_codes(const LanguageTensor& tensor) {
  const int group = static_cast<int>(group_of(tensor.type));
  return {tensor.rows(), tensor.columns(), bits_of(tensor.type), group,
          [&tensor, group](int64_t begin, int64_t end, uint8_t* codes, float* scales, float* mins) {
            const int64_t in = tensor.columns();
            for (int64_t row = begin; row < end; ++row) {
              unpack_groups(tensor.type, tensor.row(row), in, codes, scales, mins);
              codes += in;
              scales += in / group;
              mins += in / group;
            }
          }};
}

PackableMatrix made_codes(const LanguageTensor& tensor, int bits) {
  return {tensor.rows(), tensor.columns(), bits, own_group,
          [&tensor, bits](int64_t begin, int64_t end, uint8_t* codes, float* scales, float* mins) {
            std::vector<float> wide((end - begin) * tensor.columns());
            read_rows_float32(tensor, begin, end - begin, wide.data());
            quantize_groups(wide.data(), end - begin, tensor.columns(), bits, own_group, codes,
                            scales, mins);
          }};
}

// What embeds and what chooses tokens suffers most from few bits.
int own_bits(const std::string& name, WeightPacking packing) {
  const bool narrow = packing == WeightPacking::int4 && name != "lm_head.weight" &&
                      name != "model.embed_tokens.weight";
  return narrow ? 4 : 8;
}

class FolderWeights final : public PackableWeights {
 public:
  FolderWeights(std::shared_ptr<const LanguageFolder> folder, WeightPacking packing)
      : folder_(std::move(folder)), packing_(packing) {}

  PackableMatrix matrix(const std::string& name, int64_t, int64_t) const override {
    const auto& tensor = folder_->tensor(name);
    if (packing_ == WeightPacking::automatic && is_quantized(tensor.type))
      return stored_codes(tensor);
    return made_codes(tensor, own_bits(name, packing_));
  }

  std::vector<float> vector(const std::string& name, int64_t count) const override {
    std::vector<float> values(count);
    read_rows_float32(folder_->tensor(name), 0, 1, values.data());
    return values;
  }

 private:
  std::shared_ptr<const LanguageFolder> folder_;
  WeightPacking packing_;
};

class SyntheticWeights final : public PackableWeights {
 public:
  explicit SyntheticWeights(WeightPacking packing) : packing_(packing) {}

  PackableMatrix matrix(const std::string& name, int64_t rows, int64_t in) const override {
    const int bits = own_bits(name, packing_);
    const auto wide = random_.make(name, {rows, in}, at::kFloat);
    return {
        rows, in, bits, own_group,
        [wide, in, bits](int64_t begin, int64_t end, uint8_t* codes, float* scales, float* mins) {
          quantize_groups(wide.const_data_ptr<float>() + begin * in, end - begin, in, bits,
                          own_group, codes, scales, mins);
        }};
  }

  std::vector<float> vector(const std::string& name, int64_t count) const override {
    const auto wide = random_.make(name, {count}, at::kFloat);
    return {wide.const_data_ptr<float>(), wide.const_data_ptr<float>() + count};
  }

 private:
  RandomWeights random_{random_place};
  WeightPacking packing_;
};

}  // namespace

LanguageWeights LanguageWeights::open(const LanguageModelOptions& options) {
  LanguageWeights weights;
  if (options.synthetic) {
    weights.config_ = synthetic_decoder_config(*options.synthetic);
  } else {
    weights.folder_ = std::make_shared<const LanguageFolder>(LanguageFolder::open(options.model));
    weights.config_ = weights.folder_->config();
  }
  weights.tensors_ = decoder_tensors(weights.config_);
  return weights;
}

uint64_t LanguageWeights::parameters() const {
  uint64_t sum = 0;
  for (const auto& tensor : tensors_)
    sum += static_cast<uint64_t>(c10::multiply_integers(tensor.shape));
  return sum;
}

bool LanguageWeights::is_packed() const {
  return folder_ && std::ranges::any_of(folder_->tensors(), [](const auto& each) {
           return is_quantized(each.second.type);
         });
}

WeightPacking LanguageWeights::choose_packing(const LanguageModelOptions& options,
                                              at::Device device) const {
  const auto apart = std::ranges::find_if(tensors_, [&](const NamedShape& tensor) {
    return tensor.shape.size() == 2 && tensor.shape.back() % own_group != 0 &&
           !(folder_ && is_quantized(folder_->tensor(tensor.name).type));
  });
  const bool divided = apart == tensors_.end();
  WeightPacking packing = options.packing;
  if (packing == WeightPacking::automatic &&
      (!is_packed() || !divided || options.precision != Precision::automatic || !device.is_cpu()))
    packing = WeightPacking::none;
  if (packing == WeightPacking::none) return packing;
  if (!device.is_cpu())
    throw EnvironmentError(fmt::format("--quantize {}", packed_name(packing)),
                           "works on the CPU only", "leave it out, or give --device cpu");
  if (!divided)
    throw LoadError(options.synthetic.value_or(options.model.string()),
                    fmt::format("{} has rows of {} numbers, which groups of {} don't divide",
                                apart->name, apart->shape.back(), own_group),
                    "give --quantize none");
  return packing;
}

CausalLM LanguageWeights::bind(at::ScalarType dtype, at::Device device, int64_t positions) const {
  if (!folder_) {
    Binding binding(RandomWeights(random_place), dtype, device);
    return CausalLM(binding.root(), config_, positions);
  }
  if (!folder_->is_gguf()) {
    Binding binding(Checkpoint::open(folder_->path(), "model"), dtype, device);
    return CausalLM(binding.root(), config_, positions);
  }
  Binding binding(
      [this, dtype](std::string_view name) { return unpacked(folder_->tensor(name), dtype); },
      dtype, device);
  return CausalLM(binding.root(), config_, positions);
}

std::unique_ptr<PackableWeights> LanguageWeights::packable(WeightPacking packing) const {
  if (!folder_) return std::make_unique<SyntheticWeights>(packing);
  return std::make_unique<FolderWeights>(folder_, packing);
}

std::string LanguageWeights::packed_name(WeightPacking packing) const {
  if (packing == WeightPacking::int4) return "int4";
  if (packing == WeightPacking::int8) return "int8";
  std::map<std::string, int64_t> parameters;
  for (const auto& [name, tensor] : folder_->tensors())
    parameters[std::string(block_type_name(tensor.type))] += tensor.rows() * tensor.columns();
  return std::ranges::max_element(parameters, {}, [](const auto& each) { return each.second; })
      ->first;
}

}  // namespace backlot
