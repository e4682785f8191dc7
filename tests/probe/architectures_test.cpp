#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "probe/plans.h"

namespace backlot {
namespace {

TEST(Architectures, EachHasKernels) {
  const auto names = synthetic_architectures();
  EXPECT_GE(names.size(), 7u);
  for (const auto& name : names) {
    const auto kernels = plan_kernels(name, {.batch = 1, .width = 512, .height = 512});
    EXPECT_GT(kernels.size(), 10u) << name;
    for (const auto& kernel : kernels) {
      EXPECT_GT(kernel.calls, 0) << name << " " << kernel.name;
      EXPECT_GT(kernel.inputs + kernel.weights, 0) << name << " " << kernel.name;
      EXPECT_GT(kernel.outputs, 0) << name << " " << kernel.name;
    }
  }
}

TEST(Architectures, PicturesAreMadeByThoseOfSdxlAndByFolders) {
  EXPECT_TRUE(synthetic_pipeline("sdxl"));
  EXPECT_TRUE(synthetic_pipeline("sdxl-turbo"));
  EXPECT_FALSE(synthetic_pipeline("wan-1.3b"));
  EXPECT_TRUE(synthetic_pipeline(BACKLOT_SOURCE_DIR "/models/pocket-xl"));
  EXPECT_FALSE(synthetic_pipeline("no-such-thing"));
}

TEST(Architectures, UnknownNamesAndSizesAreUsageErrors) {
  EXPECT_THROW(plan_kernels("no-such-thing", {}), UsageError);
  EXPECT_THROW(plan_kernels("sdxl", {.width = 1025}), UsageError);
  EXPECT_THROW(plan_kernels("sdxl", {.batch = 0}), UsageError);
  EXPECT_THROW(plan_kernels("wan-1.3b", {.width = 1000}), UsageError);
  EXPECT_THROW(plan_kernels("qwen3-vl-4b", {.height = 1000}), UsageError);
  EXPECT_THROW(plan_kernels(BACKLOT_SOURCE_DIR "/models/pocket-xl/unet", {}), LoadError);
}

TEST(Architectures, KernelsOfANetworkStandTogether) {
  const auto kernels = plan_kernels("sdxl", {});
  std::vector<std::string> networks;
  for (const auto& kernel : kernels) {
    const auto network = kernel.name.substr(0, kernel.name.find('/'));
    if (networks.empty() || networks.back() != network) networks.push_back(network);
  }
  auto distinct = networks;
  std::ranges::sort(distinct);
  distinct.erase(std::ranges::unique(distinct).begin(), distinct.end());
  EXPECT_EQ(networks.size(), distinct.size());
}

}  // namespace
}  // namespace backlot
