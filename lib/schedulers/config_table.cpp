#include "schedulers/config_table.h"

#include <initializer_list>

namespace backlot {
namespace {

using Keys = std::vector<ConfigKey>;
using Words = std::vector<std::string_view>;

ConfigKey integer(std::string_view name, int64_t preset) {
  return {name, KeyKind::integer, preset};
}
ConfigKey number(std::string_view name, Json preset) {
  return {name, KeyKind::number, std::move(preset)};
}
ConfigKey flag(std::string_view name, bool preset) { return {name, KeyKind::boolean, preset}; }
ConfigKey word(std::string_view name, std::string_view preset, Words choices,
               std::vector<std::pair<std::string_view, std::string_view>> aliases = {}) {
  return {name, KeyKind::text, preset, std::move(choices), std::move(aliases)};
}
ConfigKey only_default(ConfigKey key) {
  key.fixed = true;
  return key;
}

Keys join(std::initializer_list<Keys> parts) {
  Keys all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// The noise schedule of training.
Keys betas(double start, double end, std::string_view schedule, Words more_schedules = {}) {
  Words schedules = {"linear", "scaled_linear", "squaredcos_cap_v2"};
  schedules.insert(schedules.end(), more_schedules.begin(), more_schedules.end());
  return {integer("num_train_timesteps", 1000),
          number("beta_start", start),
          number("beta_end", end),
          word("beta_schedule", schedule, schedules),
          {"trained_betas", KeyKind::numbers, nullptr}};
}

Keys spacing(std::string_view preset) {
  return {word("timestep_spacing", preset, {"linspace", "leading", "trailing"}),
          integer("steps_offset", 0)};
}

// Other ways to spread the noise levels. sigma_min and sigma_max bound them in every class, since
// the reference reads them off whatever config it was given. Beta sigmas need SciPy there.
Keys respread() {
  return {flag("use_karras_sigmas", false), flag("use_exponential_sigmas", false),
          only_default(flag("use_beta_sigmas", false)), number("sigma_min", nullptr),
          number("sigma_max", nullptr)};
}

Keys thresholding() {
  return {flag("thresholding", false), number("dynamic_thresholding_ratio", 0.995),
          number("sample_max_value", 1.0)};
}

Keys clipping(bool preset) {
  return {flag("clip_sample", preset), number("clip_sample_range", 1.0)};
}

Keys prediction(Words choices) { return {word("prediction_type", "epsilon", std::move(choices))}; }

Keys zero_snr() { return {flag("rescale_betas_zero_snr", false)}; }

Keys flow_sigmas() {
  return {flag("use_flow_sigmas", false), number("flow_shift", 1.0),
          only_default(flag("use_dynamic_shifting", false)),
          word("time_shift_type", "exponential", {"exponential"})};
}

const Words three = {"epsilon", "sample", "v_prediction"};
const Words four = {"epsilon", "sample", "v_prediction", "flow_prediction"};

// What the multistep and single-step log-SNR solvers share.
Keys solver(bool lower_order_final) {
  return join({betas(0.0001, 0.02, "linear"),
               prediction(four),
               thresholding(),
               respread(),
               flow_sigmas(),
               {integer("solver_order", 2), flag("lower_order_final", lower_order_final)}});
}

Keys final_sigmas() { return {word("final_sigmas_type", "zero", {"zero", "sigma_min"})}; }

Keys dpm_solver(bool lower_order_final, Words algorithms) {
  return join(
      {solver(lower_order_final),
       final_sigmas(),
       {word("algorithm_type", "dpmsolver++", std::move(algorithms), {{"deis", "dpmsolver++"}}),
        word("solver_type", "midpoint", {"midpoint", "heun"},
             {{"logrho", "midpoint"}, {"bh1", "midpoint"}, {"bh2", "midpoint"}}),
        number("lambda_min_clipped", nullptr),
        only_default({"variance_type", KeyKind::text, nullptr, {}})}});
}

// Consistency-distilled models: LCM and TCD.
Keys consistency() {
  return join({betas(0.00085, 0.012, "scaled_linear"),
               clipping(false),
               thresholding(),
               prediction(three),
               spacing("leading"),
               zero_snr(),
               {integer("original_inference_steps", 50), flag("set_alpha_to_one", true),
                number("timestep_scaling", 10.0)}});
}

// `eta` is no config key in the reference but an argument of its pipelines, 0 by default.
Keys eta() { return {number("eta", 0.0)}; }

std::vector<SchedulerClass> make_classes() {
  const auto plain = betas(0.0001, 0.02, "linear");
  const auto second_order = join({betas(0.00085, 0.012, "linear"), respread(), spacing("linspace"),
                                  prediction({"epsilon", "v_prediction"})});
  return {
      {"EulerDiscreteScheduler",
       join({plain,
             prediction({"epsilon", "v_prediction", "sample", "original_sample"}),
             respread(),
             spacing("linspace"),
             zero_snr(),
             final_sigmas(),
             {word("interpolation_type", "linear", {"linear", "log_linear"}),
              word("timestep_type", "discrete", {"discrete", "continuous"})}})},
      {"EulerAncestralDiscreteScheduler",
       join({plain, prediction({"epsilon", "v_prediction"}), spacing("linspace"), zero_snr()})},
      {"DDIMScheduler", join({plain,
                              clipping(true),
                              thresholding(),
                              prediction(three),
                              spacing("leading"),
                              zero_snr(),
                              eta(),
                              {flag("set_alpha_to_one", true)}})},
      {"DPMSolverMultistepScheduler",
       join({dpm_solver(true, {"dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"}),
             spacing("linspace"),
             zero_snr(),
             {flag("euler_at_final", false), flag("use_lu_lambdas", false)}})},
      {"UniPCMultistepScheduler",
       join({solver(true),
             spacing("linspace"),
             final_sigmas(),
             zero_snr(),
             {flag("predict_x0", true),
              word("solver_type", "bh2", {"bh1", "bh2"},
                   {{"midpoint", "bh2"}, {"heun", "bh2"}, {"logrho", "bh2"}}),
              {"disable_corrector", KeyKind::integers, Json::array()},
              only_default({"solver_p", KeyKind::text, nullptr, {}}),
              number("shift_terminal", nullptr)}})},
      {"LCMScheduler", consistency()},
      {"HeunDiscreteScheduler", join({betas(0.00085, 0.012, "linear", {"exp"}), prediction(three),
                                      respread(), clipping(false), spacing("linspace")})},
      {"PNDMScheduler", join({plain,
                              prediction({"epsilon", "v_prediction"}),
                              spacing("leading"),
                              {flag("skip_prk_steps", false), flag("set_alpha_to_one", false)}})},
      {"KDPM2DiscreteScheduler", second_order},
      {"KDPM2AncestralDiscreteScheduler", second_order},
      {"DPMSolverSinglestepScheduler",
       dpm_solver(false, {"dpmsolver", "dpmsolver++", "sde-dpmsolver++"})},
      {"DEISMultistepScheduler", join({solver(true),
                                       spacing("linspace"),
                                       {word("algorithm_type", "deis", {"deis"},
                                             {{"dpmsolver", "deis"}, {"dpmsolver++", "deis"}}),
                                        word("solver_type", "logrho", {"logrho"},
                                             {{"midpoint", "logrho"},
                                              {"heun", "logrho"},
                                              {"bh1", "logrho"},
                                              {"bh2", "logrho"}})}})},
      {"DDPMScheduler", join({betas(0.0001, 0.02, "linear", {"laplace", "sigmoid"}),
                              clipping(true),
                              thresholding(),
                              prediction(three),
                              spacing("leading"),
                              zero_snr(),
                              {word("variance_type", "fixed_small",
                                    {"fixed_small", "fixed_small_log", "fixed_large"})}})},
      {"TCDScheduler", join({consistency(), eta()})},
      {"FlowMatchEulerDiscreteScheduler",
       {integer("num_train_timesteps", 1000), number("shift", 1.0),
        only_default(flag("use_dynamic_shifting", false)), number("base_shift", 0.5),
        number("max_shift", 1.15), integer("base_image_seq_len", 256),
        integer("max_image_seq_len", 4096), flag("invert_sigmas", false),
        number("shift_terminal", nullptr), flag("use_karras_sigmas", false),
        flag("use_exponential_sigmas", false), only_default(flag("use_beta_sigmas", false)),
        number("sigma_min", nullptr), number("sigma_max", nullptr),
        word("time_shift_type", "exponential", {"exponential", "linear"}),
        flag("stochastic_sampling", false)}},
      {"FlowMatchHeunDiscreteScheduler",
       {integer("num_train_timesteps", 1000), number("shift", 1.0)}},
  };
}

}  // namespace

const std::vector<SchedulerClass>& scheduler_classes() {
  static const auto classes = make_classes();
  return classes;
}

const std::vector<SchedulerName>& scheduler_name_table() {
  static const Json second_order = {{"algorithm_type", "dpmsolver++"}, {"solver_order", 2}};
  static const std::vector<SchedulerName> names = {
      {"euler", "EulerDiscreteScheduler", Json::object()},
      {"euler_ancestral", "EulerAncestralDiscreteScheduler", Json::object()},
      {"ddim", "DDIMScheduler", Json::object()},
      {"dpmpp_2m", "DPMSolverMultistepScheduler", second_order},
      {"dpmpp_2m_karras",
       "DPMSolverMultistepScheduler",
       {{"algorithm_type", "dpmsolver++"}, {"solver_order", 2}, {"use_karras_sigmas", true}}},
      {"dpmpp_2m_sde_karras",
       "DPMSolverMultistepScheduler",
       {{"algorithm_type", "sde-dpmsolver++"}, {"solver_order", 2}, {"use_karras_sigmas", true}}},
      {"unipc", "UniPCMultistepScheduler", Json::object()},
      {"lcm", "LCMScheduler", Json::object()},
      {"heun", "HeunDiscreteScheduler", Json::object()},
      {"pndm", "PNDMScheduler", Json::object()},
  };
  return names;
}

}  // namespace backlot
