#include "schedulers/noise_schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "base/error.h"

namespace backlot {
namespace {

// betas_for_alpha_bar of the reference: betas whose cumulated alphas follow `alpha_bar`.
template <typename Function>
at::Tensor betas_along(int64_t train, Function alpha_bar) {
  std::vector<float> betas;
  for (int64_t i = 0; i < train; ++i) {
    const double t1 = static_cast<double>(i) / train, t2 = static_cast<double>(i + 1) / train;
    betas.push_back(static_cast<float>(std::min(1 - alpha_bar(t2) / alpha_bar(t1), 0.999)));
  }
  return as_tensor(betas);
}

double cosine_alpha_bar(double t) {
  const double cosine = std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2);
  return cosine * cosine;
}

double laplace_alpha_bar(double t) {
  const double lambda =
      -0.5 * std::copysign(1, 0.5 - t) * std::log(1 - 2 * std::fabs(0.5 - t) + 1e-6);
  const double snr = std::exp(lambda);
  return std::sqrt(snr / (1 + snr));
}

at::Tensor training_betas(const Json& config) {
  const auto train = config.at("num_train_timesteps").get<int64_t>();
  const auto start = config.at("beta_start").get<double>();
  const auto end = config.at("beta_end").get<double>();
  const auto schedule = config.at("beta_schedule").get<std::string>();
  const auto& trained = config.at("trained_betas");
  if (!trained.is_null()) return as_tensor(trained.get<std::vector<float>>());
  if (schedule == "linear") return at::linspace(start, end, train, at::kFloat);
  if (schedule == "scaled_linear")
    return at::linspace(std::sqrt(start), std::sqrt(end), train, at::kFloat).pow(2);
  if (schedule == "squaredcos_cap_v2") return betas_along(train, cosine_alpha_bar);
  if (schedule == "exp") return betas_along(train, [](double t) { return std::exp(t * -12.0); });
  if (schedule == "laplace") return betas_along(train, laplace_alpha_bar);
  TORCH_CHECK(schedule == "sigmoid", "beta_schedule ", schedule);
  return at::sigmoid(at::linspace(-6, 6, train, at::kFloat)) * (end - start) + start;
}

// Lin et al., "Common diffusion noise schedules and sample steps are flawed" (arXiv 2305.08891),
// algorithm 1: the last timestep becomes pure noise.
at::Tensor rescale_zero_terminal_snr(const at::Tensor& betas) {
  auto root = at::cumprod(1.0 - betas, 0).sqrt();
  const auto first = root[0].clone(), last = root[-1].clone();
  root = (root - last) * (first / (first - last));
  const auto bar = root.pow(2);
  const auto alphas = at::cat({bar.slice(0, 0, 1), bar.slice(0, 1) / bar.slice(0, 0, -1)});
  return 1 - alphas;
}

std::vector<float> to_vector(const at::Tensor& values) {
  const float* data = values.const_data_ptr<float>();
  return {data, data + values.numel()};
}

template <typename Real>
double interpolated_timestep(const std::vector<float>& log_sigmas, Real sigma) {
  const Real log_sigma = std::log(std::max(sigma, Real(1e-10)));
  const auto above = std::upper_bound(log_sigmas.begin(), log_sigmas.end(), log_sigma);
  const auto highest = static_cast<int64_t>(log_sigmas.size()) - 2;
  const auto low =
      std::clamp<int64_t>(above - log_sigmas.begin() - 1, 0, std::max<int64_t>(highest, 0));
  const auto high = std::min<int64_t>(low + 1, log_sigmas.size() - 1);
  const Real weight = (log_sigmas[low] - log_sigma) / (log_sigmas[low] - log_sigmas[high]);
  const double w = std::clamp<Real>(weight, 0, 1);
  return (1 - w) * low + w * high;
}

void round_all(std::vector<double>& values) {
  for (auto& value : values) value = std::nearbyint(value);
}

float through(at::Tensor (*function)(const at::Tensor&), float x) {
  return function(at::scalar_tensor(x, at::kFloat)).item<float>();
}

}  // namespace

NoiseSchedule::NoiseSchedule(const Json& config) {
  const bool zero_snr = config.value("rescale_betas_zero_snr", false);
  auto betas = training_betas(config);
  if (zero_snr) betas = rescale_zero_terminal_snr(betas);
  auto alphas = at::cumprod(1.0 - betas, 0);
  // The samplers that divide by alpha get the smallest float16 instead of 0.
  const auto name = config.at("_class_name").get<std::string>();
  const bool divides =
      name.starts_with("Euler") || name.starts_with("DPMSolver") || name.starts_with("UniPC");
  if (zero_snr && divides) alphas[-1].fill_(std::ldexp(1.0, -24));
  alphas_ = to_vector(alphas);
  sigmas_ = to_vector(((1 - alphas) / alphas).pow(0.5));
  for (const float sigma : sigmas_)
    log_sigmas_.push_back(static_cast<float>(std::log(static_cast<double>(sigma))));
}

float NoiseSchedule::alpha(int64_t timestep) const {
  const auto index = timestep < 0 ? timestep + train_steps() : timestep;
  if (index < 0 || index >= train_steps())
    throw ItemError("steps",
                    std::to_string(train_steps()) + " timesteps of training do not have timestep " +
                        std::to_string(timestep),
                    "use fewer steps");
  return alphas_[index];
}

double NoiseSchedule::sigma(double timestep) const {
  if (timestep <= 0) return sigmas_.front();
  if (timestep >= static_cast<double>(train_steps() - 1)) return sigmas_.back();
  const auto low = static_cast<size_t>(timestep);
  const double below = sigmas_[low], above = sigmas_[low + 1];
  return (above - below) * (timestep - static_cast<double>(low)) + below;
}

std::vector<double> NoiseSchedule::sigmas_at(const std::vector<double>& timesteps) const {
  std::vector<double> sigmas;
  for (const double timestep : timesteps) sigmas.push_back(sigma(timestep));
  return sigmas;
}

double NoiseSchedule::timestep(double sigma) const {
  return interpolated_timestep(log_sigmas_, sigma);
}

double NoiseSchedule::timestep(float sigma) const {
  return interpolated_timestep(log_sigmas_, sigma);
}

std::vector<double> NoiseSchedule::timesteps_at(const std::vector<double>& sigmas) const {
  std::vector<double> timesteps;
  for (const double sigma : sigmas) timesteps.push_back(timestep(sigma));
  return timesteps;
}

int64_t NoiseSchedule::count_below(double lambda_min) const {
  const auto alphas = as_tensor(alphas_);
  const auto lambdas = at::log(at::sqrt(alphas)) - at::log(at::sqrt(1 - alphas));
  return at::searchsorted(at::flip(lambdas, {0}), lambda_min).item<int64_t>();
}

void check_steps(int64_t steps, int64_t most) {
  if (steps >= 1 && steps <= most) return;
  throw ItemError("steps",
                  std::to_string(steps) + " is not between 1 and " + std::to_string(most) +
                      ", the most that this scheduler's config allows",
                  steps < 1 ? "use more steps" : "use fewer steps");
}

std::vector<double> linspace(double start, double stop, int64_t count) {
  std::vector<double> values;
  const double step = (stop - start) / static_cast<double>(count - 1);
  for (int64_t i = 0; i < count; ++i)
    values.push_back(i > 0 && i == count - 1 ? stop : i == 0 ? start : i * step + start);
  return values;
}

std::vector<double> spaced_timesteps(const Json& config, int64_t last, int64_t steps,
                                     Linspace kind) {
  const auto spacing = config.at("timestep_spacing").get<std::string>();
  const auto train = config.at("num_train_timesteps").get<int64_t>();
  const int64_t points = kind == Linspace::open ? steps + 1 : steps;
  check_steps(steps, spacing == "leading" ? std::min(train, last + steps - points) : train);
  std::vector<double> timesteps;
  if (spacing == "linspace") {
    timesteps = linspace(0, static_cast<double>(last - 1), points);
    if (kind != Linspace::fractional) round_all(timesteps);
    for (auto& timestep : timesteps) timestep = static_cast<float>(timestep);
  } else if (spacing == "leading") {
    for (int64_t i = 0; i < points; ++i)
      timesteps.push_back(static_cast<double>(i * (last / points)));
  } else {
    // numpy.arange(last, 0, -ratio), whose length rounding errors may raise by one.
    const double ratio = static_cast<double>(train) / static_cast<double>(steps);
    const auto length = static_cast<int64_t>(std::ceil(-static_cast<double>(last) / -ratio));
    const double delta = (static_cast<double>(last) - ratio) - static_cast<double>(last);
    for (int64_t i = 0; i < length; ++i)
      timesteps.push_back(std::nearbyint(static_cast<double>(last) + i * delta) - 1);
    return timesteps;
  }
  if (kind == Linspace::open) timesteps.erase(timesteps.begin());
  std::reverse(timesteps.begin(), timesteps.end());
  if (spacing == "leading")
    for (auto& timestep : timesteps) timestep += config.at("steps_offset").get<double>();
  return timesteps;
}

std::optional<std::vector<double>> respread_sigmas(const Json& config, double sigma_max,
                                                   double sigma_min, int64_t steps) {
  if (!config.at("sigma_max").is_null()) sigma_max = config.at("sigma_max").get<double>();
  if (!config.at("sigma_min").is_null()) sigma_min = config.at("sigma_min").get<double>();
  if (config.at("use_karras_sigmas").get<bool>()) {
    // Karras et al., "Elucidating the design space" (arXiv 2206.00364), equation 5.
    const double rho = 7.0;
    const double low = std::pow(sigma_min, 1 / rho), high = std::pow(sigma_max, 1 / rho);
    auto sigmas = linspace(0, 1, steps);
    for (auto& sigma : sigmas) sigma = std::pow(high + sigma * (low - high), rho);
    return sigmas;
  }
  if (config.at("use_exponential_sigmas").get<bool>()) {
    auto sigmas = linspace(std::log(sigma_max), std::log(sigma_min), steps);
    for (auto& sigma : sigmas) sigma = std::exp(sigma);
    return sigmas;
  }
  return std::nullopt;
}

std::vector<float> to_float(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

at::Tensor as_tensor(const std::vector<float>& values) { return at::tensor(values, at::kFloat); }

at::Tensor as_tensor(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

at::Tensor as_int64_tensor(const std::vector<double>& values) {
  return as_tensor(values).to(at::kLong);
}

at::Tensor twice_but_first(const at::Tensor& values) {
  return at::cat({values.slice(0, 0, 1), values.slice(0, 1).repeat_interleave(2)});
}

float exp32(float x) { return through(at::exp, x); }
float expm132(float x) { return through(at::expm1, x); }
float log32(float x) { return through(at::log, x); }

at::Tensor threshold_sample(const Json& config, const at::Tensor& sample) {
  const auto flat = sample.to(at::kFloat).flatten(1);
  const auto ratio = config.at("dynamic_thresholding_ratio").get<double>();
  const auto limit = at::quantile(flat.abs(), ratio, 1)
                         .clamp(1, config.at("sample_max_value").get<double>())
                         .unsqueeze(1);  // [batch, 1]
  return (at::clamp(flat, -limit, limit) / limit).view(sample.sizes()).to(sample.dtype());
}

at::Tensor limit_sample(const Json& config, const at::Tensor& predicted) {
  if (config.value("thresholding", false)) return threshold_sample(config, predicted);
  if (!config.value("clip_sample", false)) return predicted;
  const auto range = config.at("clip_sample_range").get<double>();
  return predicted.clamp(-range, range);
}

}  // namespace backlot
