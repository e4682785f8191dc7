// When a sampler draws noise, and that a run leaves nothing behind for the next.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "schedulers/scheduler.h"

namespace backlot {
namespace {

const Json sdxl = {{"_class_name", "EulerDiscreteScheduler"},
                   {"beta_start", 0.00085},
                   {"beta_end", 0.012},
                   {"beta_schedule", "scaled_linear"},
                   {"timestep_spacing", "leading"},
                   {"steps_offset", 1},
                   {"clip_sample", false},
                   {"set_alpha_to_one", false},
                   {"skip_prk_steps", true}};

struct Run {
  at::Tensor sample;
  std::vector<int64_t> draws;  // the calls that drew noise, once for each draw
};

Run run(Scheduler& scheduler, int64_t steps) {
  scheduler.set_timesteps(steps);
  auto generator = at::detail::createCPUGenerator(5);
  Run result{at::randn({2, 4, 2, 3}, generator) * scheduler.init_noise_sigma(), {}};
  for (int64_t call = 0; call < scheduler.timesteps().numel(); ++call) {
    const auto input = scheduler.scale_model_input(result.sample, call);
    result.sample = scheduler.step(at::tanh(input), call, result.sample, [&] {
      result.draws.push_back(call);
      return at::randn({2, 4, 2, 3}, generator);
    });
  }
  return result;
}

Run run(const Json& choice, int64_t steps) { return run(*make_scheduler(choice, sdxl), steps); }

using Calls = std::vector<int64_t>;

TEST(Noise, IsDrawnOnceAStepBySamplersThatNeedIt) {
  EXPECT_EQ(run("euler_ancestral", 4).draws, (Calls{0, 1, 2, 3}));
  EXPECT_EQ(run("dpmpp_2m_sde_karras", 4).draws, (Calls{0, 1, 2, 3}));
  EXPECT_EQ(run({{"_class_name", "DDIMScheduler"}, {"eta", 1.0}}, 3).draws, (Calls{0, 1, 2}));
}

TEST(Noise, IsNotDrawnForALastStepThatEndsClean) {
  EXPECT_EQ(run("lcm", 4).draws, (Calls{0, 1, 2}));
  EXPECT_EQ(run({{"_class_name", "TCDScheduler"}, {"eta", 0.3}}, 4).draws, (Calls{0, 1, 2}));
  EXPECT_EQ(run({{"_class_name", "DDPMScheduler"}}, 4).draws, (Calls{0, 1, 2}));
  EXPECT_EQ(run({{"_class_name", "KDPM2AncestralDiscreteScheduler"}}, 3).draws, (Calls{1, 3}));
}

TEST(Noise, IsNeverDrawnByDeterministicSamplers) {
  for (const char* name : {"euler", "ddim", "dpmpp_2m", "dpmpp_2m_karras", "unipc", "heun", "pndm"})
    EXPECT_EQ(run(name, 4).draws, Calls{}) << name;
}

class EveryName : public testing::TestWithParam<std::string_view> {};

TEST_P(EveryName, RunsTheSameAfterAnotherRunThatWasLeftHalfway) {
  const auto fresh = run(std::string(GetParam()), 5);
  const auto used = make_scheduler(std::string(GetParam()), sdxl);
  used->set_timesteps(7);
  auto sample = at::ones({2, 4, 2, 3});
  for (int64_t call = 0; call < 2; ++call)
    sample = used->step(sample, call, sample, [] { return at::zeros({2, 4, 2, 3}); });
  const auto again = run(*used, 5);
  EXPECT_TRUE(at::equal(again.sample, fresh.sample));
  EXPECT_TRUE(fresh.sample.isfinite().all().item<bool>());
}

TEST_P(EveryName, TreatsItemsOfABatchAlike) {
  const auto scheduler = make_scheduler(std::string(GetParam()), sdxl);
  const auto one = at::randn({1, 4, 2, 3}, at::detail::createCPUGenerator(3));
  const auto last = [&](int64_t batch) {
    scheduler->set_timesteps(4);
    auto sample = one.repeat({batch, 1, 1, 1});
    for (int64_t call = 0; call < scheduler->timesteps().numel(); ++call) {
      const auto output = at::tanh(scheduler->scale_model_input(sample, call));
      sample = scheduler->step(output, call, sample, [&] { return at::ones_like(sample); });
    }
    return sample;
  };
  const auto alone = last(1), both = last(2);
  EXPECT_TRUE(at::allclose(both[0], alone[0], 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(both[1], alone[0], 1e-5, 1e-6));
}

TEST_P(EveryName, KeepsTheModelsDtype) {
  const auto scheduler = make_scheduler(std::string(GetParam()), sdxl);
  scheduler->set_timesteps(3);
  auto sample = at::ones({1, 4, 2, 2}, at::kBFloat16);
  for (int64_t call = 0; call < scheduler->timesteps().numel(); ++call) {
    const auto noise = [] { return at::ones({1, 4, 2, 2}); };
    sample = scheduler->step(at::full_like(sample, 0.5), call, sample, noise);
    ASSERT_EQ(sample.scalar_type(), at::kBFloat16) << "call " << call;
  }
}

INSTANTIATE_TEST_SUITE_P(Names, EveryName, testing::ValuesIn(scheduler_names()),
                         [](const auto& info) { return std::string(info.param); });

TEST(Steps, BeyondTheScheduleAreAnItemsError) {
  EXPECT_THROW(make_scheduler("euler", sdxl)->set_timesteps(0), ItemError);
  EXPECT_THROW(make_scheduler("ddim", sdxl)->set_timesteps(1001), ItemError);
  EXPECT_THROW(make_scheduler("dpmpp_2m", sdxl)->set_timesteps(1000), ItemError);
  EXPECT_THROW(make_scheduler("lcm", sdxl)->set_timesteps(51), ItemError);
  EXPECT_THROW(make_scheduler({{"_class_name", "PNDMScheduler"}}, sdxl)->set_timesteps(3),
               ItemError);
}

TEST(Steps, CanBeOne) {
  for (const auto name : scheduler_names()) {
    const auto scheduler = make_scheduler(std::string(name), sdxl);
    scheduler->set_timesteps(1);
    EXPECT_EQ(scheduler->timesteps().numel(), 1) << name;
    EXPECT_TRUE(run(*scheduler, 1).sample.isfinite().all().item<bool>()) << name;
  }
}

}  // namespace
}  // namespace backlot
