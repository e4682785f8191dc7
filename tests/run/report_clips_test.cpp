// Clips in the report.
#include <gtest/gtest.h>

#include "media/clips.h"
#include "media/picture_io.h"
#include "media/pictures.h"
#include "run/fake_run.h"
#include "run/report.h"
#include "support/schema.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

Json page_data(const fs::path& folder) {
  const std::string html = read_file(folder / "report.html");
  const std::string start = R"(<script type="application/json" id="data">)";
  const size_t from = html.find(start) + start.size();
  return Json::parse(html.substr(from, html.find("</script>", from) - from));
}

TEST(Report, GivesClipsPosters) {
  TemporaryFolder scratch;
  const fs::path folder = scratch / "run";
  Plan plan = fake::plan(3);
  plan.items[0].output = "videos/0 a.mp4";
  plan.items[1].output = "videos/1.mp4";
  write_clip(scratch / "clip.mp4", 3, 64, 48, {});
  const std::string stale = "posters/" + std::string(64, 'a') + ".jpg";
  std::string hash;
  {
    RunFolder run = fake::open(folder, plan);
    const auto file = run.write_output(plan.items[0], read_file(scratch / "clip.mp4"));
    hash = file.sha256;
    run.record_done(plan.items[0], file, 64, 48, fake::attempt());
    fake::finish(run);  // the second is no video, for all its name
  }
  fs::create_directories(folder / "posters");
  write_file_durably(folder / stale, "of a clip that is gone");
  write_file_durably(folder / "posters" / "mine.jpg", "somebody's own");
  build_report(folder);
  const Json items = page_data(folder)["items"];
  const std::string poster = "posters/" + hash + ".jpg";
  EXPECT_EQ(items[0]["poster"], poster);
  EXPECT_FALSE(items[1].contains("poster"));
  EXPECT_FALSE(items[2].contains("poster"));
  const Picture picture = decode_picture(folder / poster).picture;
  EXPECT_EQ(picture.width, 64);
  EXPECT_LT(difference(picture, scene(64, 48, 0)), 8);
  EXPECT_FALSE(fs::exists(folder / stale));
  EXPECT_TRUE(fs::exists(folder / "posters" / "mine.jpg"));
  write_file_durably(folder / poster, "kept, not made again");
  build_report(folder);
  EXPECT_EQ(read_file(folder / poster), "kept, not made again");
}

TEST(Report, SaysWhereScenesAre) {
  TemporaryFolder scratch;
  const fs::path folder = scratch / "run";
  Plan plan = fake::plan(2);
  Json& parameters = plan.items[0].parameters;
  parameters.erase("prompt");
  parameters["scenes"] = {
      {{"prompt", "a fox"}, {"seed", UINT64_MAX}, {"frames", 9}},
      {{"prompt", "a hare"}, {"seed", 2}, {"frames", 13}, {"transition_frames", 4}}};
  {
    RunFolder run = fake::open(folder, plan);
    fake::finish(run);
  }
  const Json manifest = Json::parse(read_file(folder / "manifest.json"));
  const Json expected = {
      {{"prompt", "a fox"}, {"seed", UINT64_MAX}, {"first_frame", 0}, {"frames", 9}},
      {{"prompt", "a hare"}, {"seed", 2}, {"first_frame", 5}, {"frames", 13}}};
  EXPECT_EQ(manifest["items"][0]["scenes"], expected);
  EXPECT_FALSE(manifest["items"][1].contains("scenes"));
  const Json schema =
      Json::parse(read_file(fs::path(BACKLOT_SOURCE_DIR) / "docs/schema/manifest.schema.json"));
  EXPECT_EQ(schema_problems(manifest, schema), std::vector<std::string>{});
  build_report(folder);
  const Json items = page_data(folder)["items"];
  EXPECT_EQ(items[0]["scenes"][0]["seed"], std::to_string(UINT64_MAX));
  EXPECT_EQ(items[0]["scenes"][1], expected[1]);
}

}  // namespace
}  // namespace backlot
