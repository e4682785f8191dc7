// Which schedulers a spec or a model folder may ask for, and what becomes of the request.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.h"
#include "schedulers/names.h"

namespace backlot {
namespace {

// As SDXL's folders have it: with keys of classes other than its own.
const Json sdxl = Json::parse(R"({
  "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0",
  "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
  "clip_sample": false, "interpolation_type": "linear", "num_train_timesteps": 1000,
  "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": false,
  "skip_prk_steps": true, "steps_offset": 1, "timestep_spacing": "leading",
  "trained_betas": null, "use_karras_sigmas": false})");

std::string message(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CheckScheduler, TakesEveryNameAndNoOther) {
  for (const auto name : scheduler_names()) EXPECT_NO_THROW(check_scheduler(std::string(name)));
  EXPECT_NO_THROW(check_scheduler(nullptr));
  EXPECT_THROW(check_scheduler("Euler"), SpecError);
  EXPECT_THROW(check_scheduler(7), SpecError);
  EXPECT_NE(message([] { check_scheduler("dpmpp_2m_karas"); }).find("'dpmpp_2m_karras'"),
            std::string::npos);
}

TEST(CheckScheduler, JudgesMappingsByTheirClass) {
  EXPECT_NO_THROW(check_scheduler({{"_class_name", "DDIMScheduler"}, {"clip_sample", false}}));
  EXPECT_THROW(check_scheduler({{"clip_sample", false}}), SpecError);
  EXPECT_NE(message([] {
              check_scheduler({{"_class_name", "EulerDiscretScheduler"}});
            }).find("'EulerDiscreteScheduler'"),
            std::string::npos);
  EXPECT_NE(message([] {
              check_scheduler({{"_class_name", "DDIMScheduler"}, {"timestep_spacin", "leading"}});
            }).find("'timestep_spacing'"),
            std::string::npos);
}

TEST(CheckScheduler, RefusesValuesThatTheClassCannotHave) {
  const auto refused = [](const char* class_name, const char* key, const Json& value) {
    return !message([&] { check_scheduler({{"_class_name", class_name}, {key, value}}); }).empty();
  };
  EXPECT_TRUE(refused("EulerDiscreteScheduler", "steps_offset", -1));
  EXPECT_TRUE(refused("EulerDiscreteScheduler", "steps_offset", "one"));
  EXPECT_TRUE(refused("EulerDiscreteScheduler", "timestep_spacing", "sideways"));
  EXPECT_TRUE(refused("EulerDiscreteScheduler", "num_train_timesteps", 0));
  EXPECT_TRUE(refused("EulerDiscreteScheduler", "trained_betas", Json::array({0.1, 0.2})));
  EXPECT_TRUE(refused("EulerAncestralDiscreteScheduler", "prediction_type", "sample"));
  EXPECT_TRUE(refused("DPMSolverMultistepScheduler", "solver_order", 4));
  EXPECT_TRUE(refused("DPMSolverMultistepScheduler", "algorithm_type", "dpmsolver"));
  EXPECT_TRUE(refused("LCMScheduler", "original_inference_steps", 1001));
}

TEST(CheckScheduler, NamesKeyAndValueOfWhatIsNotImplemented) {
  const auto text = message([] {
    check_scheduler({{"_class_name", "EulerDiscreteScheduler"}, {"use_beta_sigmas", true}});
  });
  EXPECT_NE(text.find("use_beta_sigmas"), std::string::npos) << text;
  EXPECT_NE(text.find("true"), std::string::npos) << text;
}

TEST(ResolveScheduler, FillsTheFoldersConfigWithDefaultsOfItsClass) {
  const auto config = resolve_scheduler_config(nullptr, sdxl);
  EXPECT_EQ(config.at("_class_name"), "EulerDiscreteScheduler");
  EXPECT_EQ(config.at("timestep_spacing"), "leading");
  EXPECT_EQ(config.at("final_sigmas_type"), "zero");
  EXPECT_FALSE(config.contains("skip_prk_steps"));
}

TEST(ResolveScheduler, LaysANameOverTheFoldersConfig) {
  const auto config = resolve_scheduler_config("dpmpp_2m_sde_karras", sdxl);
  EXPECT_EQ(config.at("_class_name"), "DPMSolverMultistepScheduler");
  EXPECT_EQ(config.at("algorithm_type"), "sde-dpmsolver++");
  EXPECT_EQ(config.at("use_karras_sigmas"), true);
  EXPECT_EQ(config.at("beta_start"), 0.00085);
  EXPECT_EQ(config.at("timestep_spacing"), "leading");
  EXPECT_FALSE(config.contains("interpolation_type"));
  EXPECT_EQ(resolve_scheduler_config("pndm", sdxl).at("skip_prk_steps"), true);
}

TEST(ResolveScheduler, ReadsAnotherSolversTypeAsItsOwn) {
  auto folder = sdxl;
  folder["_class_name"] = "DPMSolverMultistepScheduler";
  folder["solver_type"] = "heun";
  EXPECT_EQ(resolve_scheduler_config(nullptr, folder).at("solver_type"), "heun");
  EXPECT_EQ(resolve_scheduler_config("unipc", folder).at("solver_type"), "bh2");
}

TEST(ResolveScheduler, LetsAMappingReplaceTheFoldersConfigWhole) {
  const auto config = resolve_scheduler_config({{"_class_name", "DDIMScheduler"}}, sdxl);
  EXPECT_EQ(config.at("beta_schedule"), "linear");
  EXPECT_EQ(config.at("clip_sample"), true);
  EXPECT_EQ(config.at("steps_offset"), 0);
}

TEST(ResolveScheduler, BlamesTheFolderForItsOwnFaults) {
  auto unknown = sdxl;
  unknown["_class_name"] = "EDMEulerScheduler";
  EXPECT_THROW(resolve_scheduler_config(nullptr, unknown), LoadError);
  EXPECT_NO_THROW(resolve_scheduler_config("euler", unknown));
  auto beta = sdxl;
  beta["use_beta_sigmas"] = true;
  EXPECT_THROW(resolve_scheduler_config(nullptr, beta), LoadError);
  auto damaged = sdxl;
  damaged["beta_start"] = "small";
  EXPECT_THROW(resolve_scheduler_config("ddim", damaged), LoadError);
  EXPECT_THROW(resolve_scheduler_config(nullptr, nullptr), LoadError);
}

TEST(ParseSchedulerConfig, ReadsWhatPythonWrites) {
  const auto config = parse_scheduler_config(
      R"({"lambda_min_clipped": -Infinity, "note": "NaN and \"Infinity\"", "x": 1})", "file");
  EXPECT_TRUE(config.at("lambda_min_clipped").is_null());
  EXPECT_EQ(config.at("note"), "NaN and \"Infinity\"");
  EXPECT_EQ(config.at("x"), 1);
  EXPECT_THROW(parse_scheduler_config("[1]", "file"), LoadError);
  EXPECT_THROW(parse_scheduler_config("{", "file"), LoadError);
}

}  // namespace
}  // namespace backlot
