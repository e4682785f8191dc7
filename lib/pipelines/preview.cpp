#include "pipelines/preview.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

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

// latents [B, Z, h, w], colours [B, 3, h, w] in 0 to 1 -> [Z + 1, 3]; undefined where there is
// none.
at::Tensor least_squares(const at::Tensor& latents, const at::Tensor& colours) {
  const auto rows = with_ones(as_rows(latents.to(at::kCPU, at::kDouble)));
  const auto factors = at::linalg_pinv(rows).matmul(as_rows(colours.to(at::kCPU, at::kDouble)));
  return factors.isfinite().all().item<bool>() ? factors.to(at::kFloat) : at::Tensor();
}

// Of mean 0 and deviation 1, a part of it the same in squares of 4 by 4: latents of pictures are
// more like their neighbours than noise is. [1, channels, 2, side, side]
at::Tensor smooth_noise(int64_t channels) {
  constexpr int64_t square = 4;
  constexpr double alike = 0.7;
  auto generator = at::detail::createCPUGenerator(0);
  const auto coarse = at::randn({1, channels, 2, side / square, side / square}, generator)
                          .repeat_interleave(square, 3)
                          .repeat_interleave(square, 4);
  const auto fine = at::randn({1, channels, 2, side, side}, generator);
  return coarse * alike + fine * std::sqrt(1 - alike * alike);
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
  PreviewProjection projection;
  try {
    const auto colours = colours_to_fit();
    const int64_t reduction = vae.config().reduction();
    const auto pictures =
        colours.repeat_interleave(reduction, 2).repeat_interleave(reduction, 3) * 2 - 1;
    const auto moments = vae.encode(pictures.to(device, vae.dtype()));
    projection.factors_ = least_squares(moments.slice(1, 0, vae.config().latent_channels), colours);
  } catch (const std::exception&) {
    // A run must not fail for want of its previews.
  }
  return projection;
}

PreviewProjection PreviewProjection::fit_to_clips(
    const std::function<at::Tensor(const at::Tensor&)>& decode, int64_t channels) {
  PreviewProjection projection;
  try {
    const auto latents = smooth_noise(channels);
    const auto frames = (decode(latents).to(at::kCPU, at::kFloat) + 1) / 2;  // [1, 3, F, H, W]
    const auto colours = at::stack({frames.select(2, 0), frames.slice(2, 1).mean(2)});
    const auto small = at::adaptive_avg_pool2d(colours.squeeze(1), {side, side});  // [2, 3, h, w]
    projection.factors_ = least_squares(latents.squeeze(0).transpose(0, 1), small);
  } catch (const std::exception&) {
    // As above.
  }
  return projection;
}

std::vector<Picture> PreviewProjection::operator()(const at::Tensor& latents) const {
  std::vector<Picture> pictures;
  if (!factors_.defined()) return pictures;
  const auto rows = with_ones(as_rows(latents.to(at::kCPU, at::kFloat))).matmul(factors_);
  const auto bytes = (rows.nan_to_num(0.5).clamp(0, 1) * 255).round().to(at::kByte).contiguous();
  const int64_t width = latents.size(3), height = latents.size(2), size = width * height * 3;
  const auto* data = bytes.const_data_ptr<uint8_t>();
  for (int64_t i = 0; i < latents.size(0); ++i) {
    const auto* pixels = data + i * size;
    pictures.push_back({.width = width, .height = height, .rgb = {pixels, pixels + size}});
  }
  return pictures;
}

}  // namespace backlot
