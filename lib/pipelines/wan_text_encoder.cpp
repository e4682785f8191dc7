#include "pipelines/wan_text_encoder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "pipelines/device_time.h"
#include "pipelines/memory_meter.h"
#include "text/clean_prompt.h"
#include "weights/random_weights.h"

namespace backlot {
namespace {

// Of a full-size model up to 8 MB each.
constexpr size_t remembered = 32;

}  // namespace

WanTextEncoder::WanTextEncoder(UnigramTokenizer tokenizer,
                               std::function<UMT5Encoder(at::Device)> read, TextEncoderPlace place,
                               at::Device device)
    : tokenizer_(std::move(tokenizer)), read_(std::move(read)), place_(place), device_(device) {
  if (place_ == TextEncoderPlace::held) model_.emplace(read_(device_));
}

WanTextEncoder WanTextEncoder::random(int64_t width, at::ScalarType dtype, at::Device device) {
  return {width, dtype, device};
}

const WanTextEncoder::Known& WanTextEncoder::remember(Known known) {
  recent_.push_front(std::move(known));
  if (recent_.size() > remembered) recent_.pop_back();
  return recent_.front();
}

const WanTextEncoder::Known& WanTextEncoder::read(const std::string& text, int64_t length) {
  const auto found = std::ranges::find_if(
      recent_, [&](const Known& known) { return known.text == text && known.length == length; });
  if (found != recent_.end()) {
    recent_.splice(recent_.begin(), recent_, found);
    return recent_.front();
  }
  if (!tokenizer_)
    return remember({.text = text,
                     .length = length,
                     .hidden = RandomWeights("text").uniform(
                         text, 1, {length, random_width_},
                         at::TensorOptions().dtype(random_dtype_).device(device_)),
                     .cut = false});
  const at::Device at = place_ == TextEncoderPlace::host ? at::Device(at::kCPU) : device_;
  if (!model_) model_.emplace(read_(at));
  const std::string clean = clean_prompt(text);
  const PaddedIds padded = tokenizer_->encode_padded(clean, length);
  const auto ids = at::tensor(padded.ids, at::kLong).unsqueeze(0);
  const auto mask = (at::arange(length, at::kLong) < padded.length).to(at::kLong).unsqueeze(0);
  const auto hidden =
      model_->encode(upload(ids, at), upload(mask, at))[0].slice(0, 0, padded.length);
  Known known;
  known.text = text;
  known.length = length;
  known.hidden = hidden.to(device_).clone();
  // Full: there may have been more.
  known.cut = padded.length == length && std::ssize(tokenizer_->encode(clean)) + 1 > length;
  return remember(std::move(known));
}

Tensor WanTextEncoder::encode(const std::string& prompt, int64_t length,
                              std::vector<std::string>& warnings) {
  const Known& known = read(prompt, length);
  if (known.cut)
    warnings.push_back(
        fmt::format("prompt truncated to {} tokens: {}", length, prompt.substr(0, 60)));
  const int64_t missing = length - known.hidden.size(0);
  return at::constant_pad_nd(known.hidden, {0, 0, 0, missing}).unsqueeze(0);
}

void WanTextEncoder::release() {
  if (place_ == TextEncoderPlace::held || !model_) return;
  model_.reset();
  MemoryMeter(place_ == TextEncoderPlace::host ? at::Device(at::kCPU) : device_).drop_idle();
}

bool WanTextEncoder::move(TextEncoderPlace place) {
  if (place <= place_ || !tokenizer_) return false;
  model_.reset();
  MemoryMeter(device_).drop_idle();
  place_ = place;
  return true;
}

}  // namespace backlot
