// Samplers of diffusion models: from noise to a sample in a given number of denoiser calls.
//
// Reference: diffusers 0.42.1, src/diffusers/schedulers/. Each class is named as there, reads the
// same config keys, and on a float32 CPU sample gives the same numbers. Coefficients are computed
// on the host in float32 where the reference has float32 tensors, so a step never waits for the
// device.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/json.h"
#include "schedulers/names.h"

namespace backlot {

// Draws noise for the whole batch: float32, shaped like the sample, on the sample's device, one
// generator an item.
using NoiseSource = std::function<at::Tensor()>;

// Looks at what a sampler remembers of a run's calls, or puts something in its place.
class SchedulerMemory {
 public:
  virtual ~SchedulerMemory() = default;
  virtual void tensor(at::Tensor& tensor) = 0;  // may be undefined
  virtual void tensors(std::vector<at::Tensor>& tensors) = 0;
  virtual void number(int64_t& number) = 0;
};

class Scheduler {
 public:
  virtual ~Scheduler() = default;

  // Lays out `steps` steps and forgets everything of an earlier run. Throws ItemError if the
  // schedule cannot be divided so.
  virtual void set_timesteps(int64_t steps) = 0;

  // [calls], one for each call of the denoiser (second-order samplers call it more than `steps`
  // times), descending, on the CPU, in the reference's dtype: float32, int64, or float64.
  const at::Tensor& timesteps() const { return timesteps_; }

  // Noise levels as the reference keeps them, float32 on the CPU, with the final one at the end;
  // undefined for samplers that work on alphas.
  virtual at::Tensor sigmas() const { return {}; }

  // What initial unit noise is multiplied by; valid after set_timesteps().
  virtual double init_noise_sigma() const = 0;

  // The denoiser's input for `call`.
  virtual at::Tensor scale_model_input(const at::Tensor& sample, int64_t call) const = 0;

  // sample, model_output: [batch, channels, ...]; returns the next sample, in model_output's
  // dtype. Calls come in order; a sampler that needs no noise never asks `noise`.
  virtual at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                          const NoiseSource& noise) = 0;

  // Shows all that step() leaves for later calls, in the same order every time. Put into a sampler
  // of the same config that laid out as many steps, it goes on with the next call to the bit.
  virtual void show_memory(SchedulerMemory& memory) = 0;

  // `original` brought to the noise level of `call`.
  virtual at::Tensor add_noise(const at::Tensor& original, const at::Tensor& noise,
                               int64_t call) const = 0;

 protected:
  at::Tensor timesteps_;
};

// The sampler that a job asks for; see resolve_scheduler_config() for `choice` and the errors.
std::unique_ptr<Scheduler> make_scheduler(const Json& choice, const Json& folder_config);

}  // namespace backlot
