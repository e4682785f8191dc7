// Small pictures of what a sampler has so far, from latents alone.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"
#include "models/autoencoder_kl.h"
#include "schedulers/scheduler.h"

namespace backlot {

// The sample without its noise, as the denoiser sees it at `call`: a picture long before the sample
// itself is one. `config` is the scheduler's, resolved.
at::Tensor estimate_original(const Json& config, const Scheduler& scheduler,
                             const at::Tensor& model_output, const at::Tensor& sample,
                             int64_t call);

// Colours as a linear function of one latent pixel, which is most of what there is to a latent
// space of this kind. Fitted to each autoencoder, as their latents differ.
class PreviewProjection {
 public:
  // By least squares to two small pictures that the autoencoder encodes: less than a
  // denoising step of the models that it comes with.
  static PreviewProjection fit(const AutoencoderKL& vae, at::Device device);

  // Of a clip's autoencoder, whose first latent frame stands for one frame and every other for
  // several: by least squares to what it makes of some smooth noise. `decode`: [1, Z, 2, h, w]
  // float32 on the CPU, as the denoiser leaves latents -> [1, 3, F, H, W] in -1 to 1.
  static PreviewProjection fit_to_clips(const std::function<at::Tensor(const at::Tensor&)>& decode,
                                        int64_t channels);

  // latents: [B, Z, h, w] as they were when it was fitted. A picture of w x h pixels for each; none
  // if the fit came to nothing.
  std::vector<Picture> operator()(const at::Tensor& z) const;

 private:
  at::Tensor factors_;  // [Z + 1, 3] float32, the last row is what black is; undefined: no fit
};

}  // namespace backlot
