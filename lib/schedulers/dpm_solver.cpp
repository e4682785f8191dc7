#include "schedulers/dpm_solver.h"

#include <cmath>

namespace backlot {

DpmSolver::DpmSolver(Json config) : LogSnrScheduler(std::move(config)) {
  const auto algorithm = config_.at("algorithm_type").get<std::string>();
  plus_plus_ = algorithm.ends_with("++");
  stochastic_ = algorithm.starts_with("sde-");
  order_ = config_.at("solver_order").get<int64_t>();
  midpoint_ = config_.at("solver_type") == "midpoint";
}

int64_t DpmSolver::lambda_clipped() const {
  const auto& lowest = config_.at("lambda_min_clipped");
  return lowest.is_null() ? 0 : schedule_.count_below(lowest.get<double>());
}

void DpmSolver::set_levels(std::vector<double> timesteps, int64_t steps, bool round_karras) {
  auto levels = spread_levels(std::move(timesteps), steps, round_karras);
  // Lu et al. (arXiv 2211.01095) spread lambda evenly; here, as the reference does, log sigma.
  if (config_.value("use_lu_lambdas", false) && !config_.at("use_karras_sigmas").get<bool>()) {
    const auto& logs = schedule_.log_sigmas();
    const double high = logs.back(), low = logs.front();
    levels.sigmas = linspace(0, 1, steps);
    for (auto& sigma : levels.sigmas) sigma = std::exp(high + sigma * (low - high));
    levels.timesteps = schedule_.timesteps_at(levels.sigmas);
    if (round_karras)
      for (auto& timestep : levels.timesteps) timestep = std::nearbyint(timestep);
  }
  timesteps_ = as_int64_tensor(levels.timesteps);
  sigmas_ = to_float(levels.sigmas);
  sigmas_.push_back(config_.at("final_sigmas_type") == "zero" ? 0 : schedule_.sigmas().front());
}

at::Tensor DpmSolver::convert(const at::Tensor& model_output, const at::Tensor& sample,
                              int64_t index) const {
  if (plus_plus_) return predict_original(model_output, sample, index);
  const auto epsilon = predict_noise(model_output, sample, index);
  if (!config_.at("thresholding").get<bool>()) return epsilon;
  const auto [alpha, sigma] = level(index);
  const auto original = limit_sample(config_, (sample - epsilon * sigma) / alpha);
  return (sample - original * alpha) / sigma;
}

at::Tensor DpmSolver::update(const at::Tensor& sample, const std::vector<at::Tensor>& differences,
                             const Level& from, const Level& to, bool midpoint,
                             const at::Tensor& noise) const {
  const float h = to.lambda() - from.lambda();
  // In the limit of h to 0 each weight is that of a Taylor expansion around `from`.
  float x, noise_weight = 0, weights[3];
  if (plus_plus_ && !stochastic_) {
    const float e = exp32(-h) - 1;
    x = to.sigma / from.sigma;
    weights[0] = -(to.alpha * e);
    weights[1] = midpoint ? -(0.5f * (to.alpha * e)) : to.alpha * (e / h + 1);
    weights[2] = -(to.alpha * ((e + h) / (h * h) - 0.5f));
  } else if (plus_plus_) {
    const float e = 1 - exp32(-2 * h), twice = -2 * h;
    x = to.sigma / from.sigma * exp32(-h);
    weights[0] = to.alpha * e;
    weights[1] = midpoint ? 0.5f * (to.alpha * e) : to.alpha * (e / twice + 1);
    weights[2] = to.alpha * ((e + twice) / (twice * twice) - 0.5f);
    noise_weight = to.sigma * std::sqrt(e);
  } else {
    const float e = exp32(h) - 1, scale = stochastic_ ? 2 : 1;
    x = to.alpha / from.alpha;
    weights[0] = -(scale * (to.sigma * e));
    weights[1] = midpoint ? -(0.5f * scale * (to.sigma * e)) : -(scale * (to.sigma * (e / h - 1)));
    weights[2] = -(to.sigma * ((e - h) / (h * h) - 0.5f));
    noise_weight = to.sigma * std::sqrt(exp32(2 * h) - 1);
  }
  auto stepped = sample * x;
  for (size_t i = 0; i < differences.size(); ++i) stepped = stepped + differences[i] * weights[i];
  if (noise.defined()) stepped = stepped + noise * noise_weight;
  return stepped;
}

}  // namespace backlot
