// The tensors of a decoder-only language model under transformers' names, and GGUF's names for
// them. No LibTorch here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/decoder_config.h"

namespace backlot {

struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};

// Every tensor that a model of these sizes has, in the order in which it runs.
std::vector<NamedShape> decoder_tensors(const DecoderConfig& config);

// "model.layers.3.self_attn.q_proj.weight" for "blk.3.attn_q.weight"; nothing for other names.
std::optional<std::string> transformers_name(std::string_view gguf_name);

}  // namespace backlot
