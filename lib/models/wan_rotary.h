// The places of video tokens, as angles: a head's values are split among frame, row and column.
// Reference: WanRotaryPosEmbed in diffusers' transformer_wan.py.
#pragma once

#include <array>
#include <memory>
#include <mutex>

#include "nn/modulation.h"

namespace backlot {

// For the tokens of `grid` frames, rows and columns in that order, on the device. Angles are taken
// in float64.
PairRotation make_wan_rotation(int64_t head_dim, const std::array<int64_t, 3>& grid,
                               at::Device device);

// The table of the grid that was asked for last: it is the same at every step of a clip.
class WanRotationCache {
 public:
  std::shared_ptr<const PairRotation> operator()(int64_t head_dim,
                                                 const std::array<int64_t, 3>& grid,
                                                 at::Device device) const;

 private:
  mutable std::mutex mutex_;  // several threads may run one network
  mutable std::array<int64_t, 3> grid_{};
  mutable std::shared_ptr<const PairRotation> rotation_;
};

}  // namespace backlot
