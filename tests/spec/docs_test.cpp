#include <gtest/gtest.h>

#include <cstdlib>

#include "spec/presets.h"
#include "spec/schema.h"
#include "spec_world.h"

namespace backlot {
namespace {

const fs::path source = BACKLOT_SOURCE_DIR;

// With BACKLOT_UPDATE_DOCS set, writes what the table of fields says now.
bool updating() { return std::getenv("BACKLOT_UPDATE_DOCS") != nullptr; }

TEST(Docs, SchemaIsTheTableOfFields) {
  const fs::path file = source / "docs/schema/jobspec.schema.json";
  const std::string now = spec_schema().dump(2) + "\n";
  if (updating()) write_file_durably(file, now);
  EXPECT_EQ(read_file(file), now);
  const Json schema = Json::parse(read_file(file));
  EXPECT_EQ(schema["$defs"].size(), job_fields().size());
  for (const auto& field : job_fields()) {
    EXPECT_TRUE(schema["$defs"].contains(std::string(field.name))) << field.name;
    EXPECT_TRUE(
        schema["properties"]["jobs"]["items"]["properties"].contains(std::string(field.name)))
        << field.name;
  }
}

TEST(Docs, ReferenceHoldsTheTableOfFields) {
  const fs::path file = source / "docs/jobspec.md";
  std::string text = read_file(file);
  const std::string begin = "<!-- fields -->\n", end = "<!-- /fields -->";
  const size_t from = text.find(begin), to = text.find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  if (updating()) {
    text.replace(from + begin.size(), to - from - begin.size(), field_table());
    write_file_durably(file, text);
    return;
  }
  EXPECT_EQ(text.substr(from + begin.size(), to - from - begin.size()), field_table());
  for (const auto& name : later_job_fields())
    EXPECT_NE(text.find("`" + std::string(name) + "`"), std::string::npos) << name;
}

TEST(Docs, DefaultsSatisfyTheirOwnFields) {
  for (const auto& field : job_fields()) {
    EXPECT_FALSE(field.help.empty());
    if (field.default_json.empty()) continue;
    const Json value = Json::parse(field.default_json);
    EXPECT_EQ(check_field(field, value), value) << field.name;
  }
}

TEST(ShippedSpecs, Plan) {
  const SpecWorld world;
  const std::pair<const char*, size_t> specs[] = {{"first", 1}, {"demo", 13}, {"sweep", 26}};
  for (const auto& [name, items] : specs) {
    // As `make demo` does where the language model could not be had.
    const bool enhanced = name == std::string("demo");
    const auto document = read_spec(
        source / "jobspecs" / (std::string(name) + ".yaml"),
        enhanced ? std::vector<std::string>{"jobs[5].enhance=false"} : std::vector<std::string>{});
    EXPECT_EQ(count_items(document), items) << name;
    const auto plan = world.plan(document);
    EXPECT_EQ(plan.items.size(), items) << name;
    EXPECT_EQ(plan.name, name);
    EXPECT_TRUE(fs::exists(plan.items[0].model / "model_index.json"));
  }
}

TEST(ShippedSpecs, OfClipsPlan) {
  const SpecWorld world;
  const auto plan = world.plan_clips(
      read_spec(source / "jobspecs/scenes.yaml", {"model=" + (world.folder() / "model").string()}));
  ASSERT_EQ(plan.items.size(), 2u);
  const auto& parameters = plan.items[0].parameters;
  EXPECT_EQ(parameters["scenes"].size(), 4u);
  EXPECT_GT(parameters["frames"].get<double>(), 15 * parameters["fps"].get<double>());
  const auto demo = world.plan_clips(read_spec(source / "jobspecs/demo-clips.yaml"));
  ASSERT_EQ(demo.items.size(), 3u);
  EXPECT_TRUE(fs::exists(demo.items[0].model / "model_index.json"));
}

TEST(ShippedSpecs, PresetsAreSound) {
  EXPECT_EQ(std::string(shipped_presets()), read_file(source / "jobspecs/presets.yaml"));
  for (const char* name :
       {"image_fast", "image_draft", "image_standard", "image_high", "image_pocket",
        "image_fast_enhanced", "image_high_enhanced", "wan_image_fast", "wan_image_high"}) {
    Sources sources;
    const Mark mark{sources.add("test")};
    EXPECT_FALSE(load_preset(name, mark, "/nowhere", sources, Task::text_to_image).fields.empty());
  }
  for (const char* name :
       {"video_fast", "video_high", "video_fast_enhanced", "video_high_enhanced"}) {
    Sources sources;
    const Preset preset = load_preset(name, Mark{sources.add("test")}, "/nowhere", sources, {});
    EXPECT_EQ(preset.task, Task::text_to_video) << name;
    EXPECT_EQ(preset.fields.find("frames")->value, 81) << name;
    EXPECT_EQ(preset.enhance.has_value(), std::string(name).ends_with("enhanced")) << name;
    EXPECT_TRUE(preset.max_bytes.has_value()) << name;
  }
}

// The reference cases' jobs, as JSON specs: every field that they use is understood.
TEST(ReferenceCases, AreReadAsSpecs) {
  const SpecWorld world;
  int read = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(BACKLOT_TEST_DATA) / "oracles")) {
    if (!fs::exists(entry.path() / "case.json")) continue;
    const Json reference = Json::parse(read_file(entry.path() / "case.json"));
    if (reference["kind"] != "sdxl-text2img") continue;
    Json job = Json::object();
    for (const auto& [key, value] : reference["job"].items())
      if (!value.is_null()) job[key] = value;
    if (job.contains("seed") && job["seed"].is_array()) {
      job["matrix"] = {{"seed", job["seed"]}};
      job.erase("seed");
    }
    if (job.contains("num_images_per_prompt")) {
      if (!job.contains("matrix")) job["count"] = job["num_images_per_prompt"];
      job.erase("num_images_per_prompt");
    }
    const Json spec = {{"version", 1},
                       {"name", "case"},
                       {"task", "text-to-image"},
                       {"model", (world.folder() / "model").string()},
                       {"jobs", {job}},
                       {"output", {{"dir", "out"}, {"format", "png"}}}};
    const auto plan = world.plan(read_spec(world.write("case.yaml", spec.dump(1))));
    EXPECT_EQ(plan.items.size(), reference["expected"]["images"].size()) << entry.path();
    const auto request = image_request(plan.items[0]);
    EXPECT_EQ(request.negative_prompt.has_value(), job.contains("negative_prompt"));
    ++read;
  }
  EXPECT_GT(read, 10);
}

}  // namespace
}  // namespace backlot
