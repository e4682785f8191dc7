// Layers over frames of feature maps that know the past and not the future. Frames are
// [B, F, H, W, C], contiguous: each is a picture in channels-last memory.
#pragma once

#include "nn/layers.h"

namespace backlot {

// What causal layers keep of the frames that they have seen: a slot for each, in the order in which
// they run.
class FrameCache {
 public:
  // Begins the next frames. The slots stay.
  void rewind() { at_ = 0; }

  Tensor& next() {
    if (at_ == slots_.size()) slots_.emplace_back();
    return slots_[at_++];
  }

  // Whether these are the clip's first frames, which some layers treat apart.
  bool first = true;

 private:
  std::vector<Tensor> slots_;
  size_t at_ = 0;
};

// The two frames before x, zeros at a clip's start, and x: [B, 2 + F, H, W, C]. The slot, undefined
// at the start, then holds the last two.
Tensor after_past(const Tensor& x, Tensor& slot);

// Each pixel's channels scaled to length sqrt(C), times gamma; diffusers' WanRMS_norm.
class PixelNorm {
 public:
  // The checkpoint's gamma has `ones` dimensions of size 1 after C.
  PixelNorm(const Weights& w, int64_t channels, int64_t ones);

  // x: [..., C]
  Tensor operator()(const Tensor& x) const;

  // after_past(silu of that, slot) without a copy of x's frames
  Tensor silu_after_past(const Tensor& x, Tensor& slot) const;

 private:
  void write(const Tensor& x, bool silu, Tensor out) const;

  Tensor weight_;  // [C] float32: gamma * sqrt(C)
};

// A 3x3x3 convolution with zeros around each frame.
class CausalConv3d {
 public:
  CausalConv3d(const Weights& w, int64_t in, int64_t out);

  // x: [B, 2 + F, H, W, in] as after_past() gives it, residual: as the result or none
  // -> [B, F, H, W, out]
  Tensor operator()(const Tensor& x, const Tensor* residual = nullptr) const;

 private:
  std::optional<WinogradConv> winograd_;
  int64_t out_;
  std::optional<Conv2d> conv_;  // elsewhere on the CPU: over the channels of three frames
  Tensor weight_, bias_;        // elsewhere
};

// A 1x1x1 convolution, or a 1x1 one.
LinearParameters pixelwise(const Weights& w, int64_t in, int64_t out, int64_t ones);

// A convolution over three frames of each pixel, at every `stride`-th frame.
class TimeConv {
 public:
  TimeConv(const Weights& w, int64_t in, int64_t out, int64_t stride = 1);

  // x: [B, 2 + F, H, W, in] -> [B, F / stride, H, W, out], rounded up
  Tensor operator()(const Tensor& x) const;

 private:
  Linear linear_;  // over the channels of three frames
  int64_t stride_;
};

// Nearest-neighbour enlargement of each frame to twice the size, then a 3x3 convolution.
class UpsampleFrames {
 public:
  UpsampleFrames(const Weights& w, int64_t in, int64_t out);
  Tensor operator()(const Tensor& x) const;

 private:
  std::optional<WinogradConv> doubling_;  // both in one
  std::optional<Conv2d> conv_;
};

// A 3x3 convolution at every second pixel of each frame, padded to the right and below only.
class DownsampleFrames {
 public:
  DownsampleFrames(const Weights& w, int64_t channels);
  Tensor operator()(const Tensor& x) const;

 private:
  Conv2d conv_;
};

// [B, F, H, W, C] -> [B * F, C, H, W] in channels-last memory, and back; views where they can be.
Tensor to_maps(const Tensor& frames);
Tensor to_frames(const Tensor& maps, int64_t batch);

}  // namespace backlot
