#include "models/wan_rotary.h"

#include <ATen/ATen.h>

#include <vector>

namespace backlot {
namespace {

constexpr double theta = 10000.0;

// [grid[0], grid[1], grid[2], width / 2]: the angles of one axis, the same along the others.
Tensor axis_angles(int64_t axis, int64_t width, const std::array<int64_t, 3>& grid) {
  const auto exponents = at::arange(0, width, 2, at::kDouble) / static_cast<double>(width);
  const auto frequencies = 1.0 / at::pow(theta, exponents);
  std::array<int64_t, 4> alone{1, 1, 1, frequencies.size(0)};
  alone[axis] = grid[axis];
  return at::outer(at::arange(grid[axis], at::kDouble), frequencies)
      .view(alone)
      .expand({grid[0], grid[1], grid[2], frequencies.size(0)});
}

}  // namespace

PairRotation make_wan_rotation(int64_t head_dim, const std::array<int64_t, 3>& grid,
                               at::Device device) {
  const int64_t side = 2 * (head_dim / 6);  // for rows, and for columns; frames take the rest
  const std::array<int64_t, 3> widths{head_dim - 2 * side, side, side};
  std::vector<Tensor> parts;
  for (int64_t axis = 0; axis < 3; ++axis) {
    if (widths[axis] > 0) parts.push_back(axis_angles(axis, widths[axis], grid));
  }
  const auto angles = at::cat(parts, 3).flatten(0, 2);  // [L, head_dim / 2]
  const auto both = [&](const Tensor& first, const Tensor& second) {
    return at::stack({first, second}, 2).flatten(1).to(at::kFloat).to(device);
  };
  const auto cos = angles.cos(), sin = angles.sin();
  return {.cos = both(cos, cos), .sin = both(-sin, sin)};
}

std::shared_ptr<const PairRotation> WanRotationCache::operator()(int64_t head_dim,
                                                                 const std::array<int64_t, 3>& grid,
                                                                 at::Device device) const {
  const std::lock_guard lock(mutex_);
  if (!rotation_ || grid_ != grid) {
    rotation_ = std::make_shared<const PairRotation>(make_wan_rotation(head_dim, grid, device));
    grid_ = grid;
  }
  return rotation_;
}

}  // namespace backlot
