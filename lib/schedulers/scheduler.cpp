#include "schedulers/scheduler.h"

#include <string>
#include <string_view>
#include <utility>

#include "schedulers/ddim.h"
#include "schedulers/ddpm.h"
#include "schedulers/deis_multistep.h"
#include "schedulers/dpm_solver_multistep.h"
#include "schedulers/dpm_solver_singlestep.h"
#include "schedulers/euler_ancestral_discrete.h"
#include "schedulers/euler_discrete.h"
#include "schedulers/flow_match_euler_discrete.h"
#include "schedulers/flow_match_heun_discrete.h"
#include "schedulers/heun_discrete.h"
#include "schedulers/kdpm2_discrete.h"
#include "schedulers/lcm.h"
#include "schedulers/pndm.h"
#include "schedulers/tcd.h"
#include "schedulers/unipc_multistep.h"

namespace backlot {
namespace {

using Maker = std::unique_ptr<Scheduler> (*)(Json config);

template <typename Class>
std::unique_ptr<Scheduler> make(Json config) {
  return std::make_unique<Class>(std::move(config));
}

constexpr std::pair<std::string_view, Maker> makers[] = {
    {"DDIMScheduler", make<DDIMScheduler>},
    {"DDPMScheduler", make<DDPMScheduler>},
    {"DEISMultistepScheduler", make<DEISMultistepScheduler>},
    {"DPMSolverMultistepScheduler", make<DPMSolverMultistepScheduler>},
    {"DPMSolverSinglestepScheduler", make<DPMSolverSinglestepScheduler>},
    {"EulerAncestralDiscreteScheduler", make<EulerAncestralDiscreteScheduler>},
    {"EulerDiscreteScheduler", make<EulerDiscreteScheduler>},
    {"FlowMatchEulerDiscreteScheduler", make<FlowMatchEulerDiscreteScheduler>},
    {"FlowMatchHeunDiscreteScheduler", make<FlowMatchHeunDiscreteScheduler>},
    {"HeunDiscreteScheduler", make<HeunDiscreteScheduler>},
    {"KDPM2AncestralDiscreteScheduler", make<KDPM2AncestralDiscreteScheduler>},
    {"KDPM2DiscreteScheduler", make<KDPM2DiscreteScheduler>},
    {"LCMScheduler", make<LCMScheduler>},
    {"PNDMScheduler", make<PNDMScheduler>},
    {"TCDScheduler", make<TCDScheduler>},
    {"UniPCMultistepScheduler", make<UniPCMultistepScheduler>},
};

}  // namespace

std::unique_ptr<Scheduler> make_scheduler(const Json& choice, const Json& folder_config) {
  auto config = resolve_scheduler_config(choice, folder_config);
  const auto name = config.at("_class_name").get<std::string>();
  for (const auto& [known, maker] : makers)
    if (known == name) return maker(std::move(config));
  TORCH_CHECK(false, "no sampler for the known class ", name);
}

}  // namespace backlot
