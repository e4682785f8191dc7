// Whole pictures against the reference's, within 1/255 a channel; BACKLOT_ORACLES names a larger
// set in the same form.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <png.h>

#include <algorithm>
#include <filesystem>

#include "pipelines/oracle_case.h"
#include "support/read_safetensors.h"

namespace backlot {
namespace {

Picture read_png(const std::string& path) {
  png_image image{.version = PNG_IMAGE_VERSION};
  EXPECT_TRUE(png_image_begin_read_from_file(&image, path.c_str())) << path;
  image.format = PNG_FORMAT_RGB;
  Picture picture{.width = image.width, .height = image.height};
  picture.rgb.resize(PNG_IMAGE_SIZE(image));
  EXPECT_TRUE(png_image_finish_read(&image, nullptr, picture.rgb.data(), 0, nullptr)) << path;
  return picture;
}

class SdxlOracle : public ::testing::TestWithParam<std::string> {};

TEST_P(SdxlOracle, GivesTheRecordedPictures) {
  const auto folder = oracles() + "/" + GetParam();
  const auto recorded = oracle_json(GetParam());
  const auto& job = recorded.at("job");
  std::optional<std::string> variant;
  if (job.contains("variant")) variant = job.at("variant").get<std::string>();
  const auto pipeline = load_for_test(folder + "/" + recorded.at("model").get<std::string>(),
                                      Precision::float32, variant);
  // Intermediates where the case has them.
  std::map<std::string, at::Tensor> tensors;
  const auto& tolerance = recorded.at("tolerance");
  if (std::filesystem::exists(folder + "/expected/tensors.safetensors")) {
    tensors = read_safetensors(folder + "/expected/tensors.safetensors");
  }
  auto& sdxl = dynamic_cast<SdxlPipeline&>(*pipeline);
  sdxl.observe_latents([&](int64_t call, const at::Tensor& latents) {
    const auto key = fmt::format("latents.step_{:02}", call);
    if (!tensors.contains(key)) return;
    EXPECT_LE((latents - tensors.at(key)).abs().max().item<double>(),
              tolerance.at("tensor_max_abs").at(key).get<double>())
        << key;
  });

  Silent silent;
  const auto results = pipeline->generate(oracle_requests(job), silent);
  const auto& images = recorded.at("expected").at("images");
  ASSERT_EQ(results.size(), images.size());
  for (size_t i = 0; i < results.size(); ++i) {
    const auto expected = read_png(folder + "/expected/" + images[i].get<std::string>());
    const auto& made = results[i].picture;
    ASSERT_EQ(made.width, expected.width);
    ASSERT_EQ(made.height, expected.height);
    int largest = 0;
    size_t equal = 0;
    for (size_t j = 0; j < made.rgb.size(); ++j) {
      largest = std::max(largest, std::abs(int(made.rgb[j]) - int(expected.rgb[j])));
      equal += made.rgb[j] == expected.rgb[j];
    }
    EXPECT_LE(largest, 1);
    EXPECT_GT(equal, made.rgb.size() * 99 / 100);
  }
}

// Every text-to-image case that the folder has. One seed with several pictures is one generator for
// all of them in the reference, which items of their own do not imitate.
std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(oracles())) {
    const auto name = entry.path().filename().string();
    if (!std::filesystem::exists(entry.path() / "case.json")) continue;
    const auto recorded = oracle_json(name);
    if (recorded.value("kind", "") != "sdxl-text2img") continue;
    const auto& job = recorded.at("job");
    if (job.value("num_images_per_prompt", 1) > 1 && !job.at("seed").is_array()) continue;
    if (job.contains("loras") || job.contains("vae") || !job.at("prompt").is_string()) continue;
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Cases, SdxlOracle, ::testing::ValuesIn(cases()), [](const auto& info) {
  auto name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
  return name;
});

}  // namespace
}  // namespace backlot
