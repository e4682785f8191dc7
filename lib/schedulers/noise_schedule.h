// The arithmetic that samplers share: the training schedule of noise, how timesteps are picked
// from it, and how noise levels are spread.
//
// Where the reference computes with float32 tensors this does too, where NumPy gives it float64
// this has double: the results agree to the last bits. sigma = sqrt((1 - alpha) / alpha), alpha
// being the cumulated product ("alphas_cumprod").
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace backlot {

// The noise of each training timestep, from the config's beta_* keys.
class NoiseSchedule {
 public:
  explicit NoiseSchedule(const Json& config);

  int64_t train_steps() const { return static_cast<int64_t>(alphas_.size()); }
  const std::vector<float>& alphas() const { return alphas_; }
  const std::vector<float>& sigmas() const { return sigmas_; }  // rising
  const std::vector<float>& log_sigmas() const { return log_sigmas_; }

  // The cumulated alpha of a timestep; -1 is the last one, as in Python: some trailing schedules
  // end so. Throws ItemError for a timestep that training did not have.
  float alpha(int64_t timestep) const;

  // The sigma of a fractional timestep, linearly between its neighbours.
  double sigma(double timestep) const;
  std::vector<double> sigmas_at(const std::vector<double>& timesteps) const;

  // The timestep of a sigma, linearly in log sigma. In the type that the reference has there.
  double timestep(double sigma) const;
  double timestep(float sigma) const;
  std::vector<double> timesteps_at(const std::vector<double>& sigmas) const;

  // How many of the noisiest timesteps have a half log-SNR under `lambda_min`.
  int64_t count_below(double lambda_min) const;

 private:
  std::vector<float> alphas_, sigmas_, log_sigmas_;
};

// The points that linspace spacing yields.
enum class Linspace {
  fractional,  // float32, not rounded
  rounded,     // to whole timesteps
  open,        // rounded, one more point of which the lowest is dropped; leading spacing likewise
};

// `steps` timesteps, descending, by the config's timestep_spacing and steps_offset. `last` is the
// highest usable timestep plus one. Trailing spacing can yield one more, where rounding errors
// make the reference do so. Throws ItemError if there cannot be so many.
std::vector<double> spaced_timesteps(const Json& config, int64_t last, int64_t steps,
                                     Linspace linspace);

// Throws ItemError unless `steps` is between 1 and `most`.
void check_steps(int64_t steps, int64_t most);

// numpy.linspace(start, stop, count)
std::vector<double> linspace(double start, double stop, int64_t count);

// If the config asks for Karras or exponential noise levels: `steps` of them between its
// sigma_max and sigma_min, which default to the two given.
std::optional<std::vector<double>> respread_sigmas(const Json& config, double sigma_max,
                                                   double sigma_min, int64_t steps);

std::vector<float> to_float(const std::vector<double>& values);
at::Tensor as_tensor(const std::vector<float>& values);
at::Tensor as_tensor(const std::vector<double>& values);
at::Tensor as_int64_tensor(const std::vector<double>& values);  // truncates

// The first entry, then each of the others twice: what samplers with two calls a step go by.
at::Tensor twice_but_first(const at::Tensor& values);

// Through ATen, whose float32 functions round in their own way.
float exp32(float x);
float expm132(float x);
float log32(float x);

// Dynamic thresholding (Imagen, arXiv 2205.11487, section 2.3) by the config's keys.
at::Tensor threshold_sample(const Json& config, const at::Tensor& sample);

// `predicted` original sample after the config's thresholding or clip_sample, if any.
at::Tensor limit_sample(const Json& config, const at::Tensor& predicted);

}  // namespace backlot
