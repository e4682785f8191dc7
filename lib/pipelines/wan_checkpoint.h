// The state of a clip between two denoising steps, as bytes: the scenes that are through, and the
// one in the works.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "schedulers/scheduler.h"

namespace backlot {

// `about` says what the state belongs to; only where that is equal it is good for anything.
// `done`: calls of the denoiser, for all scenes together. `finished`: latents of scenes that are
// through. The rest is of the one after those; `noise`: the state of its generator, `more`: what
// else the steps to come depend on.
std::string pack_checkpoint(const Json& about, int64_t done,
                            const std::vector<at::Tensor>& finished, const at::Tensor& latents,
                            const at::Tensor& noise, Scheduler& scheduler,
                            const std::vector<at::Tensor>& more = {});

struct Unpacked {
  int64_t done = 0;
  std::vector<at::Tensor> finished;  // these and the next on the CPU
  at::Tensor latents;
  at::Tensor noise;
  std::vector<at::Tensor> more;  // on the CPU
};

// Puts the scheduler, whose timesteps are laid out, where it was; its tensors go to `device`.
// Nothing, and the scheduler as it was, if the bytes are damaged or about something else.
std::optional<Unpacked> unpack_checkpoint(std::string_view bytes, const Json& about,
                                          Scheduler& scheduler, at::Device device);

}  // namespace backlot
