#include "pipelines/preview.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "schedulers/noise_schedule.h"

namespace backlot {
namespace {

// Latent pixels along each side of what is encoded for the fit, and of one patch of colour in it.
constexpr int64_t side = 16, patch_side = 4;

// A colour of each channel between 0 and 1 at a latent pixel: waves that cross each other.
double wave(int64_t channel, int64_t x, int64_t y) {
  constexpr double along_x[] = {1, -0.5, 0.7}, along_y[] = {0.5, 1, -1.3}, phase[] = {0, 1, 2};
  const double cycles =
      (along_x[channel] * static_cast<double>(x) + along_y[channel] * static_cast<double>(y)) /
      (side - 1);
  return 0.5 + 0.5 * std::sin(2 * std::numbers::pi * cycles + phase[channel]);
}

// Every other patch is white, the others have colours that fill the cube evenly (the R3 sequence),
// with a slope in each.
double patch(int64_t channel, int64_t x, int64_t y) {
  constexpr double steps[] = {0.8191725133961645, 0.6710436067037893, 0.5497004779019703};
  const int64_t column = x / patch_side, row = y / patch_side;
  if ((column + row) % 2 == 1) return 1;
  const auto index = static_cast<double>(row * (side / patch_side) + column + 1);
  const auto slope = static_cast<double>(x % patch_side + y % patch_side - (patch_side - 1));
  return std::clamp(std::fmod(0.5 + index * steps[channel], 1.0) + 0.1 * slope, 0.0, 1.0);
}

// [2, 3, side, side] in 0 to 1.
at::Tensor colours_to_fit() {
  auto colours = at::empty({2, 3, side, side}, at::kFloat);
  auto at = colours.accessor<float, 4>();
  for (int64_t channel = 0; channel < 3; ++channel) {
    for (int64_t y = 0; y < side; ++y) {
      for (int64_t x = 0; x < side; ++x) {
        at[0][channel][y][x] = static_cast<float>(wave(channel, x, y));
        at[1][channel][y][x] = static_cast<float>(patch(channel, x, y));
      }
    }
  }
  return colours;
}

// [B, C, h, w] -> [B h w, C]
at::Tensor as_rows(const at::Tensor& maps) {
  return maps.permute({0, 2, 3, 1}).reshape({-1, maps.size(1)});
}

at::Tensor with_ones(const at::Tensor& rows) {
  return at::cat({rows, at::ones({rows.size(0), 1}, rows.options())}, 1);
}

}  // namespace

at::Tensor estimate_original(const Json& config, const Scheduler& scheduler,
                             const at::Tensor& model_output, const at::Tensor& sample,
                             int64_t call) {
  const auto prediction = config.value("prediction_type", "");
  if (prediction == "flow_prediction" ||
      config.at("_class_name").get<std::string>().starts_with("FlowMatch")) {
    return sample - model_output * scheduler.sigmas()[call].item<float>();
  }
  if (prediction == "sample" || prediction == "original_sample") return model_output;
  const NoiseSchedule schedule(config);
  const double sigma = schedule.sigma(scheduler.timesteps()[call].item<double>());
  // What every sampler gives the denoiser is sqrt(alpha) * x0 + sqrt(1 - alpha) * noise, with
  // alpha = 1 / (sigma^2 + 1).
  const double signal = 1 / std::sqrt(sigma * sigma + 1), noise = std::sqrt(1 - signal * signal);
  const auto input = scheduler.scale_model_input(sample, call);
  if (prediction == "epsilon") return (input - model_output * noise) / signal;
  return input * signal - model_output * noise;
}

PreviewProjection PreviewProjection::fit(const AutoencoderKL& vae, at::Device device) {
  return fit(
      [&](const at::Tensor& picture) {
        const auto moments = vae.encode(picture.to(device, vae.dtype()));
        return moments.slice(1, 0, vae.config().latent_channels);
      },
      vae.config().reduction());
}

PreviewProjection PreviewProjection::fit(const std::function<at::Tensor(const at::Tensor&)>& encode,
                                         int64_t reduction) {
  PreviewProjection projection;
  try {
    const auto colours = colours_to_fit();
    const auto mean =
        encode(colours.repeat_interleave(reduction, 2).repeat_interleave(reduction, 3) * 2 - 1);
    const auto latents = with_ones(as_rows(mean.to(at::kCPU, at::kDouble)));
    const auto factors = at::linalg_pinv(latents).matmul(as_rows(colours).to(at::kDouble));
    if (factors.isfinite().all().item<bool>()) projection.factors_ = factors.to(at::kFloat);
  } catch (const std::exception&) {
    // A run must not fail for want of its previews.
  }
  return projection;
}

std::vector<Picture> PreviewProjection::operator()(const at::Tensor& z) const {
  std::vector<Picture> pictures;
  if (!factors_.defined()) return pictures;
  const auto rows = with_ones(as_rows(z.to(at::kCPU, at::kFloat))).matmul(factors_);
  const auto bytes = (rows.nan_to_num(0.5).clamp(0, 1) * 255).round().to(at::kByte).contiguous();
  const int64_t size = z.size(2) * z.size(3) * 3;
  const auto* data = bytes.const_data_ptr<uint8_t>();
  for (int64_t i = 0; i < z.size(0); ++i) {
    const auto* pixels = data + i * size;
    pictures.push_back({.width = z.size(3), .height = z.size(2), .rgb = {pixels, pixels + size}});
  }
  return pictures;
}

}  // namespace backlot
