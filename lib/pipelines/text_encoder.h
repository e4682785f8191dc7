// A tokenizer with the network that reads its tokens, and a memory of what it has read.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/clip_text_model.h"
#include "text/prompt.h"

namespace backlot {

// What decides an encoding.
struct TextKey {
  std::string text;
  int64_t skip = 0;  // clip_skip
  bool chunk_long = false, weighting = false;

  auto operator<=>(const TextKey&) const = default;
};

struct TextEncoding {
  Tensor hidden;          // [chunks * max_length, C]
  Tensor pooled;          // [P], of the first chunk; undefined without a projection
  std::string truncated;  // text that was cut off
};

class TextEncoder {
 public:
  // `read` gives the network of that config: now, and again whenever it is needed after release().
  TextEncoder(ClipTokenizer tokenizer, CLIPTextConfig config, std::function<CLIPTextModel()> read,
              at::Device device);

  // Encodes what is not remembered, many at once. In the order of `keys`.
  std::vector<std::shared_ptr<const TextEncoding>> encode(std::span<const TextKey> keys);

  // Reads the network if it is not in memory; encode() does so too.
  void hold();

  // Gives the network's memory back. What was encoded is still remembered.
  void release();

  int64_t chunk_length() const { return tokenizer_.max_length(); }
  int64_t layers() const { return config_.num_hidden_layers; }
  const CLIPTextConfig& config() const { return config_; }

 private:
  using Entry = std::pair<TextKey, std::shared_ptr<const TextEncoding>>;

  void encode_missing(std::vector<TextKey> keys);
  void remember(TextKey key, TextEncoding encoding);

  ClipTokenizer tokenizer_;
  CLIPTextConfig config_;
  std::function<CLIPTextModel()> read_;
  std::optional<CLIPTextModel> model_;
  at::Device device_;
  std::list<Entry> recent_;  // the least recently used last
  std::map<TextKey, std::list<Entry>::iterator> known_;
};

}  // namespace backlot
