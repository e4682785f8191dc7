// The weights of a language model, wherever they come from, as its networks take them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/language_model.h"
#include "models/causal_lm.h"
#include "models/packed_decoder.h"
#include "weights/decoder_tensors.h"
#include "weights/language_folder.h"

namespace backlot {

class LanguageWeights {
 public:
  // Throws LoadError; UsageError: no such synthetic model.
  static LanguageWeights open(const LanguageModelOptions& options);

  const DecoderConfig& config() const { return config_; }
  uint64_t parameters() const;

  // What `automatic` means for this model on the device. Throws EnvironmentError: packed weights
  // on a GPU; LoadError: rows that groups don't divide.
  WeightPacking choose_packing(const LanguageModelOptions& options, at::Device device) const;

  // The network in LibTorch's numbers; packed tensors are unpacked.
  CausalLM bind(at::ScalarType dtype, at::Device device, int64_t positions) const;

  // For PackedDecoder: codes as the file has them (automatic), or made anew of its numbers.
  std::unique_ptr<PackableWeights> packable(WeightPacking packing) const;

  // "Q4_1", "int4", … : what most of the weights are in.
  std::string packed_name(WeightPacking packing) const;

 private:
  bool is_packed() const;

  DecoderConfig config_;
  std::vector<NamedShape> tensors_;
  std::shared_ptr<const LanguageFolder> folder_;  // null: random weights
};

}  // namespace backlot
