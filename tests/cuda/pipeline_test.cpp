// Whole pictures on a GPU against the CPU's in float32.
#include <cmath>

#include "cuda/with_gpu.h"
#include "pipelines/oracle_case.h"

namespace backlot {
namespace {

double psnr(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.rgb.size(), b.rgb.size());
  double sum = 0.25;  // equal pictures have a finite one, too
  for (size_t i = 0; i < a.rgb.size(); ++i) sum += std::pow(int(a.rgb[i]) - int(b.rgb[i]), 2);
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(a.rgb.size()) / sum);
}

class CudaPipeline : public WithGpu {
 protected:
  std::unique_ptr<ImagePipeline> load(Precision precision, at::Device device) const {
    Silent silent;
    return load_sdxl({.model = BACKLOT_SOURCE_DIR "/models/pocket-xl", .precision = precision},
                     device, silent);
  }
  std::vector<ImageRequest> requests() const {
    std::vector<ImageRequest> batch;
    for (const uint64_t seed : {1, 2, 3}) {
      batch.push_back({.prompt = seed == 1 ? "a red apple" : "a cat face",
                       .seed = seed,
                       .steps = 8,
                       .guidance_scale = 3.5,
                       .width = 128,
                       .height = 96});
    }
    return batch;
  }
};

TEST_F(CudaPipeline, MakesTheCpusPictures) {
  Silent silent;
  const auto batch = requests();
  const auto expected = load(Precision::float32, at::kCPU)->generate(batch, silent);
  for (const auto& [precision, least] :
       {std::pair{Precision::float32, 45.0}, std::pair{Precision::float16, 30.0},
        std::pair{Precision::bfloat16, 25.0}}) {
    const auto pipeline = load(precision, gpu);
    for (int round = 0; round < 3; ++round) {
      const auto made = pipeline->generate(batch, silent);
      for (size_t i = 0; i < batch.size(); ++i) {
        EXPECT_GT(psnr(made[i].picture, expected[i].picture), least);
        EXPECT_TRUE(made[i].warnings.empty());
        EXPECT_GT(made[i].seconds.denoise, 0);
      }
    }
  }
}

TEST_F(CudaPipeline, RecordingsDoNotChangeThePicture) {
  Silent silent;
  const auto batch = requests();
  const auto recorded = load(Precision::float32, gpu), plain = load(Precision::float32, gpu);
  dynamic_cast<SdxlPipeline&>(*plain).record_with(nullptr);
  const auto expected = plain->generate(batch, silent);
  for (int round = 0; round < 2; ++round) {
    const auto made = recorded->generate(batch, silent);
    for (size_t i = 0; i < batch.size(); ++i) {
      EXPECT_GT(psnr(made[i].picture, expected[i].picture), 60) << round;
    }
  }
}

TEST_F(CudaPipeline, DeliversOneBatchWhileTheNextIsStarted) {
  Silent silent;
  const auto batch = requests();
  const auto pipeline = load(Precision::float32, gpu);
  const auto expected = pipeline->generate(batch, silent);
  std::vector<std::vector<ImageResult>> started;
  for (int i = 0; i < 3; ++i) started.push_back(pipeline->start(batch, silent));
  for (auto& results : started) {
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto delivered = results[i].delivery();
      EXPECT_GT(psnr(delivered.picture, expected[i].picture), 60);
      EXPECT_GT(delivered.seconds.decode, 0);
    }
  }
}

}  // namespace
}  // namespace backlot
