// Tokenizing with whatever tokenizer a folder holds, as `backlot models tokenize` does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace backlot {

// The ids of each text, without special tokens added. Reads the tokenizers of CLIP, GPT-2
// (SmolLM2), Qwen2, Llama 3, T5 and UMT5 (and other Unigram models). Throws LoadError, naming the
// class found, for any other.
std::vector<std::vector<int64_t>> tokenize_with_folder(const std::filesystem::path& dir,
                                                       const std::vector<std::string>& texts);

}  // namespace backlot
