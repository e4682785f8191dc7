// CUDA graphs: what is recorded is repeated, and what can't be recorded does no harm.
#include "cuda/plugin.h"
#include "cuda/with_gpu.h"
#include "pipelines/step_graphs.h"

namespace backlot {
namespace {

class CudaGraphs : public WithGpu {
 protected:
  std::unique_ptr<GraphRecorder> recorder() const {
    const auto make =
        reinterpret_cast<MakeGraphRecorder>(::dlsym(RTLD_DEFAULT, make_graph_recorder_name));
    return std::unique_ptr<GraphRecorder>(make(0));
  }
};

TEST_F(CudaGraphs, ReplayReadsAndWritesTheSameMemory) {
  const auto makes = recorder();
  const auto x = at::ones({1000}, gpu);
  at::Tensor y;
  const auto work = [&] { y = x * 2 + 1; };
  work();
  const auto recorded = makes->record(work);
  for (const double value : {3.0, 7.0}) {
    x.fill_(value);
    recorded->replay();
    EXPECT_EQ(y.sum().item<double>(), 1000 * (2 * value + 1));
  }
}

TEST_F(CudaGraphs, AFailedRecordingLeavesNothingBehind) {
  const auto makes = recorder();
  const auto x = at::ones({1000}, gpu);
  EXPECT_THROW(makes->record([&] { (x * 2).sum().item<double>(); }), c10::Error);
  EXPECT_THROW(makes->record([&] { TORCH_CHECK(false, "of its own"); }), c10::Error);
  EXPECT_EQ((x * 2).sum().item<double>(), 2000);
  at::Tensor y;
  const auto recorded = makes->record([&] { y = x + 1; });
  recorded->replay();
  EXPECT_EQ(y.sum().item<double>(), 2000);
}

TEST_F(CudaGraphs, ManyShapesShareMemoryAndStayRight) {
  StepGraphs graphs(recorder(), {.recordings = 3});
  const auto network = [](const StepGraphs::Tensors& constants, const StepGraphs::Tensors& inputs) {
    return at::matmul(at::matmul(inputs[0], constants[0]).relu(), constants[0]);
  };
  for (int round = 0; round < 3; ++round) {
    for (const int64_t size : {64, 128, 32, 256}) {
      const StepKey key{.network = "product", .batch = size};
      const StepGraphs::Tensors constants = {at::randn({64, 64}).to(gpu)};
      for (int call = 0; call < 3; ++call) {
        const StepGraphs::Tensors inputs = {at::randn({size, 64}).to(gpu)};
        const auto made = graphs(key, round * 1000 + size, constants, inputs, network);
        EXPECT_TRUE(at::allclose(made, network(constants, inputs), 1e-4, 1e-4)) << size;
      }
    }
  }
  EXPECT_EQ(graphs.take_warning(), "");
  EXPECT_EQ(graphs.size(), 3u);
}

}  // namespace
}  // namespace backlot
