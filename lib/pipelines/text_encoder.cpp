#include "pipelines/text_encoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "pipelines/device_time.h"
#include "pipelines/memory_meter.h"

namespace backlot {
namespace {

// Encodings of a full-size model take up to 0.6 MB each.
constexpr size_t remembered = 256;
constexpr size_t rows_at_once = 32;

// Scales each token's hidden state by its weight, then restores the chunk's mean, as
// AUTOMATIC1111's web UI does: emphasis shifts attention between words and not the level of the
// whole.
Tensor emphasise(const Tensor& hidden, const std::vector<float>& weights) {
  const auto x = hidden.to(at::kFloat);  // [T, C]
  const auto scaled = x * upload(at::tensor(weights, at::kFloat), x.device()).unsqueeze(1);
  return (scaled * (x.mean() / scaled.mean())).to(hidden.scalar_type());
}

}  // namespace

TextEncoder::TextEncoder(ClipTokenizer tokenizer, CLIPTextConfig config,
                         std::function<CLIPTextModel()> read, at::Device device)
    : tokenizer_(std::move(tokenizer)),
      config_(std::move(config)),
      read_(std::move(read)),
      device_(device) {}

void TextEncoder::hold() {
  if (!model_) model_.emplace(read_());
}

void TextEncoder::release() {
  if (!model_) return;
  model_.reset();
  MemoryMeter(device_).drop_idle();
}

std::vector<std::shared_ptr<const TextEncoding>> TextEncoder::encode(
    std::span<const TextKey> keys) {
  std::map<TextKey, std::shared_ptr<const TextEncoding>> wanted;
  std::set<TextKey> missing;
  for (const auto& key : keys) {
    const auto found = known_.find(key);
    if (found == known_.end()) {
      missing.insert(key);
    } else {
      recent_.splice(recent_.begin(), recent_, found->second);
      wanted[key] = found->second->second;
    }
  }
  // A batch may have more distinct texts than are remembered: take each group's before the next.
  std::vector<TextKey> group;
  for (auto next = missing.begin(); next != missing.end();) {
    group.push_back(*next++);
    if (next != missing.end() && next->skip == group.front().skip && group.size() < rows_at_once) {
      continue;
    }
    encode_missing(group);
    for (const auto& key : group) wanted[key] = known_.at(key)->second;
    group.clear();
  }
  std::vector<std::shared_ptr<const TextEncoding>> encodings;
  for (const auto& key : keys) encodings.push_back(wanted.at(key));
  return encodings;
}

// All keys have the same skip.
void TextEncoder::encode_missing(std::vector<TextKey> keys) {
  hold();
  std::vector<PromptChunks> prompts;
  std::vector<int64_t> ids;
  for (const auto& key : keys) {
    prompts.push_back(chunk_prompt(tokenizer_, key.text, key.chunk_long, key.weighting));
    for (const auto& row : prompts.back().ids) ids.insert(ids.end(), row.begin(), row.end());
  }
  const auto rows = upload(at::tensor(ids, at::kLong).view({-1, chunk_length()}), device_);
  std::vector<Tensor> hidden, pooled;
  for (const auto& part : rows.split(rows_at_once)) {
    auto output = (*model_)(part, keys.front().skip);
    hidden.push_back(output.hidden);
    if (output.pooled.defined()) pooled.push_back(output.pooled);
  }
  const auto all_hidden = at::cat(hidden);  // [rows, T, C]
  const auto all_pooled = pooled.empty() ? Tensor() : at::cat(pooled);
  int64_t row = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    TextEncoding encoding{.truncated = prompts[i].truncated};
    if (all_pooled.defined()) encoding.pooled = all_pooled[row].clone();
    std::vector<Tensor> chunks;
    for (const auto& weights : prompts[i].weights) {
      const auto chunk = all_hidden[row++];
      chunks.push_back(prompts[i].weighted ? emphasise(chunk, weights) : chunk);
    }
    encoding.hidden = at::cat(chunks);
    remember(std::move(keys[i]), std::move(encoding));
  }
}

void TextEncoder::remember(TextKey key, TextEncoding encoding) {
  recent_.emplace_front(key, std::make_shared<const TextEncoding>(std::move(encoding)));
  known_[std::move(key)] = recent_.begin();
  if (recent_.size() > remembered) {
    known_.erase(recent_.back().first);
    recent_.pop_back();
  }
}

}  // namespace backlot
