// Where the sizes of a language model are written: a transformers config.json, or the metadata of a
// GGUF. Both are untrusted: every size is bounded before anything is computed from it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/json.h"
#include "weights/decoder_config.h"
#include "weights/gguf.h"

namespace backlot {

// From config.json, in the words of transformers 4 (rope_theta, rope_scaling) or 5
// (rope_parameters). Throws LoadError naming `file` and the key: another architecture, a size
// absent or absurd, something that backlot can't honour (sliding windows, quantised checkpoints,
// …).
DecoderConfig read_decoder_config(const Json& config, const std::filesystem::path& file);

// From a GGUF of architecture llama or qwen2. Which biases there are and whether the head is the
// embedding follows from its tensors. Throws LoadError likewise.
DecoderConfig read_decoder_config(const GgufFile& file);

}  // namespace backlot
