// Every sampler against recorded runs of the reference's, without a model: see the notes in
// tests/data/oracles/schedulers-math/case.json.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <ostream>
#include <string>

#include "schedulers/scheduler.h"
#include "support/read_safetensors.h"

namespace backlot {
namespace {

const std::string folder = BACKLOT_TEST_DATA "/oracles/schedulers-math";

struct Trace {
  std::string name;
  Json config;
  int64_t steps;
  Json entry;
};

const std::map<std::string, at::Tensor>& tensors() {
  static const auto all = read_safetensors(folder + "/expected/tensors.safetensors");
  return all;
}

Json read_case() {
  std::ifstream file(folder + "/case.json");
  return Json::parse(file);
}

std::vector<Trace> read_traces() {
  std::vector<Trace> traces;
  const auto recorded = read_case();
  for (const auto& [name, entry] : recorded.at("configs").items()) {
    auto config = entry.at("config");
    // The traces called step() with its default eta; the pipelines, and so backlot, default to 0.
    if (config.at("_class_name") == "TCDScheduler") config["eta"] = 0.3;
    traces.push_back({name, config, entry.at("steps"), entry});
  }
  return traces;
}

// Difference over max(1, the largest expected magnitude).
double difference(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return INFINITY;
  const auto e = expected.to(at::kDouble);
  const double scale = std::max(1.0, e.abs().max().item<double>());
  return (actual.to(at::kDouble) - e).abs().max().item<double>() / scale;
}

void PrintTo(const Trace& trace, std::ostream* out) { *out << trace.name; }

class TraceTest : public testing::TestWithParam<Trace> {};

TEST_P(TraceTest, FollowsTheReference) {
  const auto& trace = GetParam();
  const auto expected = [&](const char* what) { return tensors().at(trace.name + "/" + what); };
  // Rounding in the last place, amplified by up to 15 steps. Starting at sigma 4096 (zero terminal
  // SNR), the sample loses the digits that cancel. The recorded runs allow 2e-4.
  const double initial = trace.entry.at("init_noise_sigma");
  const double tolerance = 4e-6 * std::max(1.0, initial / 100);

  const auto scheduler = make_scheduler(trace.config, nullptr);
  scheduler->set_timesteps(trace.steps);
  EXPECT_LE(difference(scheduler->timesteps(), expected("timesteps")), tolerance);
  EXPECT_EQ("torch." + std::string(scheduler->timesteps().scalar_type() == at::kFloat  ? "float32"
                                   : scheduler->timesteps().scalar_type() == at::kLong ? "int64"
                                                                                       : "float64"),
            trace.entry.at("timesteps_dtype"));
  EXPECT_NEAR(scheduler->init_noise_sigma(), initial, tolerance * initial);
  if (tensors().count(trace.name + "/sigmas")) {
    EXPECT_LE(difference(scheduler->sigmas(), expected("sigmas")), tolerance);
  }

  const auto samples = expected("samples");
  // Recorded where it is not the sample itself.
  const auto inputs = tensors().find(trace.name + "/model_input");
  ASSERT_EQ(scheduler->timesteps().numel(), samples.size(0));
  auto generator = at::detail::createCPUGenerator(trace.entry.at("generator_seed"));
  auto x = tensors().at("x0") * scheduler->init_noise_sigma();
  const auto noise = [&] { return at::randn(x.sizes(), generator, at::kFloat); };
  for (int64_t call = 0; call < samples.size(0); ++call) {
    const auto input = scheduler->scale_model_input(x, call);
    const auto wanted = inputs != tensors().end() ? inputs->second[call] : x;
    EXPECT_LE(difference(input, wanted), tolerance) << "input of call " << call;
    const auto phase = (scheduler->timesteps()[call].to(at::kFloat) / 200).cos();
    const auto output = at::einsum("oc,bchw->bohw", {tensors().at("W"), at::tanh(input)}) +
                        tensors().at("B") * phase;
    x = scheduler->step(output, call, x, noise);
    EXPECT_LE(difference(x, samples[call]), tolerance) << "sample of call " << call;
  }
}

INSTANTIATE_TEST_SUITE_P(Reference, TraceTest, testing::ValuesIn(read_traces()),
                         [](const testing::TestParamInfo<Trace>& info) {
                           auto name = info.param.name;
                           for (auto& c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           return name;
                         });

TEST(AddNoise, FollowsTheReference) {
  const std::pair<const char*, const char*> classes[] = {
      {"euler", "EulerDiscreteScheduler"},
      {"euler-a", "EulerAncestralDiscreteScheduler"},
      {"ddim", "DDIMScheduler"},
      {"dpmpp", "DPMSolverMultistepScheduler"},
      {"unipc", "UniPCMultistepScheduler"},
      {"lcm", "LCMScheduler"}};
  for (const auto& [name, class_name] : classes) {
    const auto scheduler = make_scheduler({{"_class_name", class_name},
                                           {"beta_start", 0.00085},
                                           {"beta_end", 0.012},
                                           {"beta_schedule", "scaled_linear"}},
                                          nullptr);
    scheduler->set_timesteps(std::string_view(name) == "lcm" ? 4 : 8);
    for (const int64_t call : {1, 3}) {
      const auto expected =
          tensors().at(std::string("add_noise/") + name + "/" + std::to_string(call));
      const auto noisy =
          scheduler->add_noise(tensors().at("x0"), tensors().at("add_noise.noise"), call);
      EXPECT_LE(difference(noisy, expected), 1e-6) << name << " at call " << call;
    }
  }
}

}  // namespace
}  // namespace backlot
