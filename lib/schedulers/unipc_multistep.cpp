#include "schedulers/unipc_multistep.h"

#include <algorithm>
#include <cmath>

namespace backlot {
namespace {

std::vector<float> solve(const at::Tensor& matrix, const at::Tensor& right_side) {
  const auto x = at::linalg_solve(matrix, right_side).contiguous();
  return {x.const_data_ptr<float>(), x.const_data_ptr<float>() + x.numel()};
}

at::Tensor weighted_sum(const std::vector<at::Tensor>& terms, const std::vector<float>& weights) {
  auto sum = terms[0] * weights[0];
  for (size_t i = 1; i < terms.size(); ++i) sum = sum + terms[i] * weights[i];
  return sum;
}

}  // namespace

UniPCMultistepScheduler::UniPCMultistepScheduler(Json config)
    : LogSnrScheduler(std::move(config)),
      order_(config_.at("solver_order").get<int64_t>()),
      predict_x0_(config_.at("predict_x0").get<bool>()) {}

LogSnrScheduler::Levels UniPCMultistepScheduler::flow_levels(int64_t steps) const {
  const auto train = static_cast<double>(schedule_.train_steps());
  const auto shift = config_.at("flow_shift").get<double>();
  Levels levels;
  levels.sigmas = linspace(1, 1 / train, steps + 1);
  levels.sigmas.pop_back();
  for (auto& sigma : levels.sigmas) sigma = shift * sigma / (1 + (shift - 1) * sigma);
  if (const auto& terminal = config_.at("shift_terminal"); !terminal.is_null()) {
    const double scale = (1 - levels.sigmas.back()) / (1 - terminal.get<double>());
    for (auto& sigma : levels.sigmas) sigma = 1 - (1 - sigma) / scale;
  }
  // At sigma 1 there is no signal, and lambda would be infinite.
  if (std::fabs(levels.sigmas.front() - 1) < 1e-6) levels.sigmas.front() -= 1e-6;
  for (const double sigma : levels.sigmas) levels.timesteps.push_back(sigma * train);
  return levels;
}

void UniPCMultistepScheduler::set_timesteps(int64_t steps) {
  const auto train = schedule_.train_steps();
  const bool respread = config_.at("use_karras_sigmas").get<bool>() ||
                        config_.at("use_exponential_sigmas").get<bool>();
  auto timesteps = spaced_timesteps(config_, train, steps, Linspace::open);
  auto levels =
      flow_ && !respread ? flow_levels(steps) : spread_levels(std::move(timesteps), steps, true);
  if (flow_ && config_.at("use_karras_sigmas").get<bool>())
    for (size_t i = 0; i < levels.sigmas.size(); ++i) {
      levels.sigmas[i] /= levels.sigmas[i] + 1;
      levels.timesteps[i] = levels.sigmas[i] * static_cast<double>(train);
    }
  timesteps_ = as_int64_tensor(levels.timesteps);
  sigmas_ = to_float(levels.sigmas);
  const float lowest = respread || flow_ ? sigmas_.back() : schedule_.sigmas().front();
  sigmas_.push_back(config_.at("final_sigmas_type") == "zero" ? 0 : lowest);
  outputs_.clear();
  last_sample_.reset();
}

UniPCMultistepScheduler::Expansion UniPCMultistepScheduler::expand(int64_t from, int64_t to,
                                                                   int64_t order) const {
  Expansion expansion;
  const float lambda = level(from).lambda();
  const float h = level(to).lambda() - lambda;
  std::vector<float> ratios;
  for (int64_t i = 1; i < order; ++i) {
    ratios.push_back((level(from - i).lambda() - lambda) / h);
    expansion.differences.push_back((outputs_.end()[-(i + 1)] - outputs_.back()) / ratios.back());
  }
  ratios.push_back(1);

  const float hh = predict_x0_ ? -h : h;
  expansion.phi = expm132(hh);
  expansion.b_h = config_.at("solver_type") == "bh1" ? hh : expansion.phi;
  float phi_k = expansion.phi / hh - 1;
  float factorial = 1;
  std::vector<at::Tensor> rows;
  std::vector<float> right_side;
  for (int64_t i = 1; i <= order; ++i) {
    rows.push_back(as_tensor(ratios).pow(i - 1));
    right_side.push_back(phi_k * factorial / expansion.b_h);
    factorial *= static_cast<float>(i + 1);
    phi_k = phi_k / hh - static_cast<float>(1.0 / factorial);
  }
  expansion.matrix = at::stack(rows);
  expansion.right_side = as_tensor(right_side);
  return expansion;
}

at::Tensor UniPCMultistepScheduler::first_order(const at::Tensor& sample, int64_t from, int64_t to,
                                                float phi) const {
  const auto source = level(from), target = level(to);
  const float ratio = predict_x0_ ? target.sigma / source.sigma : target.alpha / source.alpha;
  return sample * ratio - outputs_.back() * (direction_scale(to) * phi);
}

float UniPCMultistepScheduler::direction_scale(int64_t to) const {
  return predict_x0_ ? level(to).alpha : level(to).sigma;
}

at::Tensor UniPCMultistepScheduler::predict(const at::Tensor& sample, int64_t call,
                                            int64_t order) const {
  const auto e = expand(call, call + 1, order);
  const auto stepped = first_order(sample, call, call + 1, e.phi);
  if (order == 1) return stepped;
  std::vector<float> weights = {0.5f};
  if (order > 2)
    weights = solve(e.matrix.slice(0, 0, -1).slice(1, 0, -1), e.right_side.slice(0, 0, -1));
  return stepped - weighted_sum(e.differences, weights) * (direction_scale(call + 1) * e.b_h);
}

at::Tensor UniPCMultistepScheduler::correct(const at::Tensor& output, int64_t call,
                                            int64_t order) const {
  const auto e = expand(call - 1, call, order);
  const auto weights = order == 1 ? std::vector<float>{0.5f} : solve(e.matrix, e.right_side);
  auto residual = (output - outputs_.back()) * weights.back();
  if (order > 1) residual = weighted_sum(e.differences, weights) + residual;
  return first_order(last_sample_, call - 1, call, e.phi) -
         residual * (direction_scale(call) * e.b_h);
}

at::Tensor UniPCMultistepScheduler::step(const at::Tensor& model_output, int64_t call,
                                         const at::Tensor& sample, const NoiseSource&) {
  const auto output = predict_x0_ ? predict_original(model_output, sample, call)
                                  : predict_noise(model_output, sample, call);
  const auto& off = config_.at("disable_corrector");
  const bool corrects =
      last_sample_.defined() && std::find(off.begin(), off.end(), call - 1) == off.end();
  const auto x = corrects ? correct(output, call, last_order_).to(sample.dtype()) : sample;

  if (static_cast<int64_t>(outputs_.size()) == order_) outputs_.erase(outputs_.begin());
  outputs_.push_back(output);
  last_order_ = std::min<int64_t>(order_, outputs_.size());
  if (config_.at("lower_order_final").get<bool>())
    last_order_ = std::min(last_order_, timesteps_.numel() - call);
  last_sample_ = x;
  return predict(x, call, last_order_).to(x.dtype());
}

}  // namespace backlot
