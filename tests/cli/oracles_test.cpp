// The reference cases through the built binary: the same pictures as diffusers, within 1/255.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "media/picture_io.h"
#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

const fs::path oracles = fs::path(BACKLOT_TEST_DATA) / "oracles";

std::vector<std::string> picture_cases() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(oracles)) {
    const fs::path file = entry.path() / "case.json";
    if (fs::exists(file) && Json::parse(read_file(file))["kind"] == "sdxl-text2img")
      names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A case's job as a spec; JSON is YAML.
Json spec_of(const Json& the_case, const fs::path& folder) {
  Json job = Json::object();
  for (const auto& [key, value] : the_case["job"].items())
    if (!value.is_null()) job[key] = value;
  job.erase("num_images_per_prompt");
  if (job["seed"].is_array()) {
    job["matrix"] = {{"seed", job["seed"]}};
    job.erase("seed");
  }
  const fs::path model = fs::weakly_canonical(folder / the_case["model"].get<std::string>());
  return {{"version", 1},
          {"name", "case"},
          {"task", "text-to-image"},
          {"model", model.string()},
          {"jobs", Json::array({job})}};
}

void expect_same_picture(const fs::path& made, const fs::path& reference, int tolerance) {
  const Picture a = decode_picture(made).picture, b = decode_picture(reference).picture;
  ASSERT_EQ(a.width, b.width);
  ASSERT_EQ(a.height, b.height);
  int worst = 0;
  size_t equal = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) {
    worst = std::max(worst, std::abs(int{a.rgb[i]} - int{b.rgb[i]}));
    equal += a.rgb[i] == b.rgb[i];
  }
  EXPECT_LE(worst, tolerance) << made;
  EXPECT_GT(equal, a.rgb.size() * 95 / 100) << "most bytes should be equal";
}

class Oracle : public ::testing::TestWithParam<std::string> {};

TEST_P(Oracle, EqualsTheReference) {
  const fs::path folder = oracles / GetParam();
  const Json the_case = Json::parse(read_file(folder / "case.json"));
  TemporaryFolder work;
  std::ofstream(work / "case.yaml") << spec_of(the_case, folder).dump(1);
  const auto result = backlot(
      {"generate", "case.yaml", "--device", "cpu", "--dtype", "float32", "--progress", "off"},
      {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const fs::path run = work / "out" / "case";
  const Json manifest = read_manifest(run);
  const auto& references = the_case["expected"]["images"];
  ASSERT_EQ(manifest["items"].size(), references.size());
  for (size_t i = 0; i < references.size(); ++i)
    expect_same_picture(run / manifest["items"][i]["output"].get<std::string>(),
                        folder / "expected" / references[i].get<std::string>(),
                        the_case["tolerance"]["image_max_abs_255"].get<int>());
}

INSTANTIATE_TEST_SUITE_P(Cases, Oracle, ::testing::ValuesIn(picture_cases()), [](const auto& info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
  return name;
});

}  // namespace
}  // namespace backlot
