#include <gtest/gtest.h>

#include "spec/fields.h"
#include "spec_world.h"

namespace backlot {
namespace {

struct Wrong {
  std::string rest;      // from line 3
  std::string expected;  // how the error starts
};

class SpecErrors : public testing::TestWithParam<Wrong> {};

TEST_P(SpecErrors, SayWhereWhatAndMend) {
  const SpecWorld world;
  const std::string error = world.error(GetParam().rest);
  EXPECT_TRUE(error.starts_with(GetParam().expected)) << error;
  EXPECT_NE(error.find("; "), std::string::npos) << "no mend: " << error;
}

INSTANTIATE_TEST_SUITE_P(
    Structure, SpecErrors,
    testing::Values(
        Wrong{"", "1:1: no jobs"}, Wrong{"jobs: []", "3:7: jobs is empty"},
        Wrong{"jobs: {prompt: a}", "3:7: jobs is a list, not a mapping"},
        Wrong{"jobs: [a red apple]",
              "3:8: a job is a mapping, not text; write `- prompt: a red apple`"},
        Wrong{"job:\n- prompt: a", "3:1: unknown key job; did you mean jobs?"},
        Wrong{"steps: 4\njobs: [{prompt: a}]", "3:1: steps is a field of jobs"},
        Wrong{"enhance: {model: m}\njobs: [{prompt: a}]",
              "3:10: the enhance stage is not available here"},
        Wrong{"task: image-to-3d\njobs: [{prompt: a}]",
              "3:7: the task image-to-3d is not available in this version"},
        Wrong{"task: text-to-video\njobs: [{prompt: a}]", "2:8: model makes pictures, not videos"},
        Wrong{"task: text-to-image\npreset: video_fast\njobs: [{prompt: a}]",
              "4:9: the preset video_fast is for text-to-video"},
        Wrong{"task: text-to-imge\njobs: [{prompt: a}]",
              "3:7: unknown task text-to-imge; did you mean text-to-image?"},
        Wrong{"preset: image_fst\njobs: [{prompt: a}]",
              "3:9: unknown preset image_fst; did you mean image_fast?"},
        Wrong{"name: ../x\njobs: [{prompt: a}]", "3:7: name is \"../x\", a path"},
        Wrong{"name: ..\njobs: [{prompt: a}]",
              "3:7: name \"..\" has a part that starts with a dot"},
        Wrong{"name: 7\njobs: [{prompt: a}]", "3:7: name is a whole number, not text"},
        Wrong{"defaults: [1]\njobs: [{prompt: a}]", "3:11: defaults is a mapping, not a list"},
        Wrong{"jobs:\n- prompt: a\n  model: m", "5:3: model belongs to the whole spec"},
        Wrong{"jobs:\n- {id: x, prompt: a}\n- {id: x, prompt: b}",
              "5:3: the id x is taken by the job at 4:3"},
        Wrong{"jobs:\n- {prompt: a}\n- {id: job-1, prompt: b}", "5:3: the id job-1 is taken"}));

INSTANTIATE_TEST_SUITE_P(
    Fields, SpecErrors,
    testing::Values(
        Wrong{"jobs:\n- promt: a", "4:3: unknown field promt; did you mean prompt?"},
        Wrong{"jobs:\n- prompt: a\n  zzzzzzz: 1", "5:3: unknown field zzzzzzz; docs/jobspec.md"},
        Wrong{"jobs:\n- prompt: a\n  loras: []", "5:3: loras is not available in this version"},
        Wrong{"jobs:\n- prompt: a\n  image: a.png", "5:3: image is not available in this version"},
        Wrong{"jobs:\n- prompt: a\n  frames: 9",
              "5:3: frames has no meaning for this task; write `task: text-to-video`"},
        Wrong{"jobs:\n- prompt: a\n  max_sequence_length: 64",
              "5:24: max_sequence_length means nothing to this model"},
        Wrong{"jobs:\n- steps: 4", "4:3: prompt is missing"},
        Wrong{"jobs:\n- prompt: null", "4:3: prompt is missing"},
        Wrong{"jobs:\n- prompt: 1984",
              "4:11: prompt is a whole number (1984); put text in quotes: \"1984\""},
        Wrong{"jobs:\n- prompt: [a, b]", "4:11: prompt is a list"},
        Wrong{"jobs:\n- {prompt: a, width: 830}",
              "4:22: width is 830, not a multiple of 8; the nearest are 824 and 832"},
        Wrong{"jobs:\n- {prompt: a, width: 16385}",
              "4:22: width is 16385; give a whole number from 8 to"},
        Wrong{"jobs:\n- {prompt: a, height: 0}", "4:23: height is 0; "},
        Wrong{"jobs:\n- {prompt: a, width: 64.0}", "4:22: width is a number (64.0)"},
        Wrong{"jobs:\n- {prompt: a, width: 99999999999999999}",
              "4:22: width is 99999999999999999;"},
        Wrong{"jobs:\n- {prompt: a, steps: 0}", "4:22: steps is 0; "},
        Wrong{"jobs:\n- {prompt: a, steps: '20'}", "4:22: steps is text (\"20\")"},
        Wrong{"jobs:\n- {prompt: a, seed: -1}", "4:21: seed is -1; "},
        Wrong{"jobs:\n- {prompt: a, seed: [1, 2]}", "4:21: seed is a list; for several seeds"},
        Wrong{"jobs:\n- {prompt: a, seed: 18446744073709551615, count: 2}",
              "4:21: seed 18446744073709551615 + count 2 is over 2^64-1"},
        Wrong{"jobs:\n- {prompt: a, count: 0}", "4:22: count is 0; "},
        Wrong{"jobs:\n- {prompt: a, guidance_scale: .inf}", "4:31: .inf is not a finite number"},
        Wrong{"jobs:\n- {prompt: a, guidance_rescale: 2}", "4:33: guidance_rescale is 2; "},
        Wrong{"jobs:\n- {prompt: a, prompt_weighting: no}",
              "4:33: prompt_weighting is text (\"no\")"},
        Wrong{"jobs:\n- {prompt: a, long_prompt: chunks}",
              "4:28: long_prompt is \"chunks\"; did you mean chunk?"},
        Wrong{"jobs:\n- {prompt: a, original_size: 64}",
              "4:30: original_size is a whole number (64)"},
        Wrong{"jobs:\n- {prompt: a, original_size: [64, -1]}", "4:30: original_size is -1"},
        Wrong{"jobs:\n- {prompt: a, scheduler: eulr}", "4:26: scheduler"},
        Wrong{"jobs:\n- {prompt: a, scheduler: {beta_start: 1}}", "4:26: scheduler"},
        Wrong{"jobs:\n- {prompt: a, variant: ../x}",
              "4:24: variant is \"../x\", not part of a file name"},
        Wrong{"jobs:\n- {prompt: a, vae: no/such}", "4:20: there is no model at no/such"},
        Wrong{"jobs:\n- prompt: \"a {red|green\"", "4:11: prompt has a '{' without its '}'"},
        Wrong{"jobs:\n- prompt: a red} apple", "4:11: prompt has a '}' without its '{'"},
        Wrong{"jobs:\n- prompt: \"a\\0b\"", "4:11: prompt holds a NUL character"}));

INSTANTIATE_TEST_SUITE_P(
    Expansion, SpecErrors,
    testing::Values(
        Wrong{"jobs:\n- {prompt: a, matrix: {seed: 1}}",
              "4:30: matrix.seed is not a list of values"},
        Wrong{"jobs:\n- {prompt: a, matrix: {seed: []}}",
              "4:30: matrix.seed is not a list of values"},
        Wrong{"jobs:\n- {prompt: a, matrix: {sed: [1]}}",
              "4:24: unknown field sed; did you mean seed?"},
        Wrong{"jobs:\n- {prompt: a, matrix: {count: [1]}}", "4:24: count can't vary in a matrix"},
        Wrong{"jobs:\n- {prompt: a, matrix: {width: [64, 65]}}",
              "4:36: width is 65, not a multiple of 8"},
        Wrong{"jobs:\n- {prompt: a, seed: 1, matrix: {seed: [1]}}",
              "4:33: seed is given both in the job and in its matrix"},
        Wrong{"jobs:\n- {prompt: a, expand: zipp}", "4:23: expand is zipp; did you mean zip?"},
        Wrong{"jobs:\n- {prompt: 'a {b|c}', matrix: {seed: [1, 2, 3]}, expand: zip}",
              "4:58: zip needs lists of one length, but prompt has 2, seed has 3"},
        Wrong{"jobs:\n- {prompt: a, seed: 1}\n- {prompt: a, seed: 1}",
              "5:3: item 1 (job-2) is the same as item 0 (job-1)"},
        Wrong{"jobs:\n- {prompt: a, matrix: {seed: [1, 2]}, count: 2}",
              "4:3: item 2 (job-1) is the same"},
        Wrong{"jobs:\n- {prompt: a, count: 1000000}\n- {prompt: b}",
              "5:3: the spec expands to 1000001 items up to here; the limit is 1000000"},
        Wrong{"jobs:\n- {prompt: a, prompts_from: none.csv}", "4:29: none.csv: cannot open"},
        Wrong{"jobs:\n- {prompt: a, prompts_from: model}", "4:29: model: cannot read"}));

INSTANTIATE_TEST_SUITE_P(
    Output, SpecErrors,
    testing::Values(
        Wrong{"output: {nme: x}\njobs: [{prompt: a}]", "3:10: unknown key nme; did you mean name?"},
        Wrong{"output: {format: jpg}\njobs: [{prompt: a}]",
              "3:18: unknown format jpg; did you mean jpeg?"},
        Wrong{"output: {format: png-sequence}\njobs: [{prompt: a}]",
              "3:18: the format png-sequence is for videos"},
        Wrong{"task: text-to-video\noutput: {format: jpeg}\njobs: [{prompt: a}]",
              "4:18: the format jpeg is for pictures"},
        Wrong{"output: {codec: h264}\njobs: [{prompt: a}]", "3:10: codec is for videos"},
        Wrong{"task: text-to-video\noutput: {codec: x264}\njobs: [{prompt: a}]",
              "4:17: unknown codec x264; did you mean h264?"},
        Wrong{"task: text-to-video\noutput: {crf: 99}\njobs: [{prompt: a}]",
              "4:15: crf is not a whole number from 0 to 63"},
        Wrong{"task: text-to-video\noutput: {bit_depth: 12}\njobs: [{prompt: a}]",
              "4:21: bit_depth is neither 8 nor 10"},
        Wrong{"output: {name: '{prompt}'}\njobs: [{prompt: a}]",
              "3:16: name has the unknown field {prompt}; did you mean {slug}?"},
        Wrong{"output: {name: '../{slug}'}\njobs: [{prompt: a}]",
              "3:16: name \"../{slug}\" has a part"},
        Wrong{"output: {name: '/tmp/{slug}'}\njobs: [{prompt: a}]",
              "3:16: name \"/tmp/{slug}\" has an empty"},
        Wrong{"output: {name: '{slug'}\njobs: [{prompt: a}]", "3:16: name \"{slug\" has a brace"},
        Wrong{"output: {name: '{slug:05}'}\njobs: [{prompt: a}]",
              "3:16: name has the field {slug:05}"},
        Wrong{"output: {name: '{index:0999}'}\njobs: [{prompt: a}]", "3:16: name has the field"},
        Wrong{"output: {max_bytes: 10 apples}\njobs: [{prompt: a}]",
              "3:21: max_bytes is \"10 apples\""},
        Wrong{"output: {max_bytes: 0}\njobs: [{prompt: a}]", "3:21: max_bytes is 0"},
        Wrong{"output: {quality: 101}\njobs: [{prompt: a}]", "3:19: quality is not"},
        Wrong{"output: {metadata: 1}\njobs: [{prompt: a}]", "3:20: metadata is a whole number"}));

TEST(ReadSpec, WantsItsFileAndModel) {
  const SpecWorld world;
  try {
    read_spec(world.folder() / "none.yaml");
    FAIL();
  } catch (const SpecError& error) {
    EXPECT_EQ(error.where(), (world.folder() / "none.yaml").string());
  }
  EXPECT_THROW(read_spec(world.folder()), SpecError);
  const auto document = read_spec(world.write("m.yaml", "model: nowhere\njobs: [{prompt: a}]"));
  EXPECT_EQ(count_items(document), 1u);  // the model is looked for when the plan is made
  try {
    world.plan(document);
    FAIL();
  } catch (const LoadError& error) {
    EXPECT_EQ(error.code(), ExitCode::environment);
    EXPECT_EQ(error.where(), (world.folder() / "m.yaml").string() + ":1:8");
  }
}

TEST(ReadSpec, FindsModelsByName) {
  const SpecWorld world;
  make_folders(world.folder() / "store/by-name");
  ::setenv("BACKLOT_MODELS", (world.folder() / "store").c_str(), 1);
  const auto plan =
      world.plan(read_spec(world.write("m.yaml", "model: by-name\njobs: [{prompt: a}]")));
  ::unsetenv("BACKLOT_MODELS");
  EXPECT_EQ(plan.items[0].model, world.folder() / "store/by-name");
  EXPECT_EQ(plan.spec["model"], "by-name");
}

TEST(ReadSpec, LaysDefaultsPresetAndJobOverEachOther) {
  const SpecWorld world;
  world.write("presets.yaml", "presets: {mine: {steps: 9, width: 256, clip_skip: 1}}");
  const auto items = world
                         .plan(
                             "preset: mine\ndefaults: {width: 512, seed: 3}\njobs:\n"
                             "- {prompt: a}\n- {prompt: b, width: 64, steps: null}")
                         .items;
  EXPECT_EQ(items[0].parameters["steps"], 9);
  EXPECT_EQ(items[0].parameters["width"], 512);
  EXPECT_EQ(items[0].parameters["height"], 64);  // the model's
  EXPECT_EQ(items[1].parameters["steps"], 50);   // null takes the preset back
  EXPECT_EQ(items[1].parameters["width"], 64);
  EXPECT_EQ(items[1].parameters["clip_skip"], 1);
  EXPECT_EQ(items[1].parameters["seed"], 3);
  EXPECT_EQ(items[1].parameters["original_size"], Json({64, 64}));
  EXPECT_EQ(world.plan("preset: image_fast\njobs: [{prompt: a}]").items[0].parameters["steps"], 4);
}

TEST(ReadSpec, SetsValues) {
  const SpecWorld world;
  const std::string rest = "jobs:\n- {prompt: a, seed: 1}\n- {prompt: b, seed: 2, steps: 7}\n";
  const auto plan = world.plan(world.read(
      rest, {"defaults.steps=4", "jobs[0].prompt=a {x|y}: [1]", "output.dir=7", "name=2024",
             "jobs[*].width=64", "jobs[1].negative_prompt=", "jobs[1].original_size=[8, 16]",
             "jobs[0].matrix.guidance_scale=[1, 2]", "output.name={job}-{index}"}));
  ASSERT_EQ(plan.items.size(), 5u);
  EXPECT_EQ(plan.items[0].parameters["prompt"], "a x: [1]");
  EXPECT_EQ(plan.items[0].parameters["steps"], 4);
  EXPECT_EQ(plan.items[4].parameters["steps"], 7);
  EXPECT_EQ(plan.items[4].parameters["width"], 64);
  EXPECT_EQ(plan.items[4].parameters["negative_prompt"], "");
  EXPECT_EQ(plan.items[4].parameters["original_size"], Json({8, 16}));
  EXPECT_EQ(plan.items[4].output, "images/job-2-4.png");
  EXPECT_EQ(plan.run_folder, fs::current_path() / "7/2024");
  EXPECT_EQ(
      world.error(rest, {"jobs[2].steps=3"}),
      "--set jobs[2].steps: there is no entry 2; the list has 2, counted from 0; check the path");
  EXPECT_TRUE(world.error(rest, {"jobs[0].stps=3"})
                  .starts_with("--set jobs[0].stps: unknown field stps; did you mean steps?"));
  EXPECT_TRUE(
      world.error(rest, {"jobs[0].steps=x"}).starts_with("--set jobs[0].steps: steps is text"));
  EXPECT_TRUE(world.error(rest, {"steps"}).starts_with("--set steps: not an assignment"));
  EXPECT_TRUE(
      world.error(rest, {"jobs[x].steps=1"}).starts_with("--set jobs[x].steps: not a path"));
  EXPECT_TRUE(world.error(rest, {"output.quality=[1"}).starts_with("--set output.quality:"));
}

TEST(QuickSpec, NamesOptionsInErrors) {
  const SpecWorld world;
  const std::string model = (world.folder() / "model").string();
  const auto plan = world.plan(quick_spec(
      {{"model", model}, {"width", "64"}, {"guidance_scale", 3}, {"seed", "5"}, {"count", "2"}},
      {"a red apple", "a {pear|plum}"}));
  EXPECT_EQ(plan.name, "a-red-apple");
  ASSERT_EQ(plan.items.size(), 6u);
  EXPECT_EQ(plan.items[1].parameters["seed"], 6);
  EXPECT_EQ(plan.items[4].parameters["prompt"], "a plum");
  EXPECT_EQ(plan.spec["model"], "model");
  const auto where = [&](const Json& fields, const std::vector<std::string>& prompts) {
    try {
      quick_spec(fields, prompts);
      return std::string();
    } catch (const SpecError& error) {
      return error.where();
    }
  };
  EXPECT_EQ(where({{"model", model}, {"width", "65"}}, {"a"}), "--width");
  EXPECT_EQ(where({{"model", model}, {"guidance_scale", "much"}}, {"a"}), "--guidance-scale");
  EXPECT_EQ(where({{"model", model}}, {"a {b"}), "--prompt");
  EXPECT_EQ(where({{"model", model}, {"loras", "x"}}, {"a"}), "--loras");
  EXPECT_EQ(where({{"model", model}}, {}), "command line");
  EXPECT_EQ(where(Json::object(), {"a"}), "command line");
}

TEST(ReadSpec, EndsSoonOnHugeMappings) {
  const SpecWorld world;
  std::string huge = "{";
  for (int i = 0; i < 60000; ++i) huge.append("\"k").append(std::to_string(i)).append("\": 1, ");
  huge += "\"z\": 1}";
  EXPECT_TRUE(world.error("jobs:\n- prompt: a\n  scheduler: " + huge)
                  .starts_with("5:14: scheduler holds more than 1000 values"));
  EXPECT_TRUE(world.error("version: " + huge).starts_with("3:1: the key version is given twice"));
  world.write("t.jsonl", huge + "\n");
  EXPECT_TRUE(
      world.error("jobs: [{prompts_from: t.jsonl}]").starts_with("t.jsonl:1:1: too many keys"));
}

TEST(Rows, ReadTables) {
  const SpecWorld world;
  world.write("t.csv",
              "\xef\xbb\xbfprompt,negative_prompt,seed,original_size\r\n"
              "\"a \"\"red\"\", apple\",\"\",7,\"[64, 128]\"\r\n"
              "a pear,,,\r\n\r\n\"two\nlines\",none,9,\r\n");
  world.write("sub/t.jsonl", "{\"prompt\": \"a\", \"steps\": 3}\n\n{\"seed\": 4}\n");
  world.write("t.txt", "one\n\n  # two  \r\nthree {a|b}\n");
  const auto csv = world.plan("jobs: [{prompts_from: t.csv, seed: 1}]").items;
  ASSERT_EQ(csv.size(), 3u);
  EXPECT_EQ(csv[0].parameters["prompt"], "a \"red\", apple");
  EXPECT_EQ(csv[0].parameters["negative_prompt"], "");
  EXPECT_EQ(csv[0].parameters["original_size"], Json({64, 128}));
  EXPECT_FALSE(csv[1].parameters.contains("negative_prompt"));
  EXPECT_EQ(csv[1].parameters["seed"], 1);
  EXPECT_EQ(csv[2].parameters["prompt"], "two\nlines");
  const auto jsonl = world.plan("jobs: [{prompts_from: sub/t.jsonl, prompt: b}]").items;
  EXPECT_EQ(jsonl[0].parameters["steps"], 3);
  EXPECT_EQ(jsonl[1].parameters["prompt"], "b");
  const auto txt = world.plan("jobs: [{prompts_from: t.txt}]").items;
  ASSERT_EQ(txt.size(), 4u);
  EXPECT_EQ(txt[1].parameters["prompt"], "# two");
  EXPECT_EQ(txt[3].parameters["prompt"], "three b");
}

TEST(Rows, NameTheLine) {
  const SpecWorld world;
  const std::tuple<std::string, std::string, std::string> cases[] = {
      {"t.csv", "prompt,sed\na,1\n", "t.csv:1:8: unknown field sed; did you mean seed?"},
      {"t.csv", "prompt,prompt\na,1\n", "t.csv:1:8: the column prompt is given twice"},
      {"t.csv", "prompt,seed\na,1\nb\n", "t.csv:3:1: 1 cells, but the header has 2"},
      {"t.csv", "prompt,seed\na,x\n", "t.csv:2:3: seed is text (\"x\")"},
      {"t.csv", "prompt,seed\n\"a,1\n", "t.csv:2:1: a quoted cell is not closed"},
      {"t.csv", "prompt,seed\n\"a\"b,1\n", "t.csv:2:4: text after a closing quote"},
      {"t.csv", "seed\n1\n", "t.csv:2:1: prompt is missing"},
      {"t.csv", "prompt\n\"a {b\"\n", "t.csv:2:1: prompt has a '{' without its '}'"},
      {"t.csv", "", "t.csv:1:1: the table is empty"},
      {"t.csv", "prompt\n", "t.csv:1:1: no rows"},
      {"t.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": }\n", "t.jsonl:2:12: not valid JSON"},
      {"t.jsonl", "[1]\n", "t.jsonl:1:1: not a JSON object"},
      {"t.jsonl", "{\"prompt\": \"a\", \"prompt\": \"b\"}\n",
       "t.jsonl:1:1: the key prompt is given twice"},
      {"t.jsonl", "{\"prompt\": \"a\", \"guidance_scale\": 1e999}\n",
       "t.jsonl:1:1: a number is not finite"},
      {"t.txt", "\n \n", "t.txt:1:1: no rows"},
      {"t.txt", "a\xff\n", "t.txt:1:1: not valid UTF-8"},
      {"t.xls", "a\n", "3:23: t.xls is not a .txt, .csv or .jsonl file"},
  };
  for (const auto& [name, text, expected] : cases) {
    world.write(name, text);
    const std::string error = world.error("jobs: [{prompts_from: " + name + "}]");
    EXPECT_TRUE(error.starts_with(expected)) << text << "\n" << error;
  }
  world.write("t.txt", "a\n");
  EXPECT_TRUE(world.error("jobs: [{prompts_from: t.txt, prompt: b}]")
                  .starts_with("3:38: prompt is given here and in every row"));
}

TEST(Output, ReadsSizes) {
  const SpecWorld world;
  const auto bytes = [&](const std::string& size) {
    return world.read("output: {max_bytes: " + size + "}\njobs: [{prompt: a}]").output.max_bytes;
  };
  EXPECT_EQ(bytes("10MB"), 10'000'000u);
  EXPECT_EQ(bytes("10 MiB"), 10u << 20);
  EXPECT_EQ(bytes("1.5KB"), 1500u);
  EXPECT_EQ(bytes("123"), 123u);
  EXPECT_EQ(bytes("null"), std::nullopt);
  EXPECT_EQ(world.read("output: {quota: 50GB}\njobs: [{prompt: a}]").output.quota, 50'000'000'000u);
  EXPECT_TRUE(world.error("output: {quota: much}\njobs: [{prompt: a}]")
                  .starts_with("3:17: quota is \"much\""));
}

TEST(Output, TakesThePresetsLimitUnlessItHasItsOwn) {
  const SpecWorld world;
  world.write("presets.yaml", "presets: {small: {steps: 3, max_bytes: 2MB}, odd: {max_bytes: -1}}");
  const auto bytes = [&](const std::string& output) {
    const auto document = world.read("preset: small\n" + output + "jobs: [{prompt: a}]");
    EXPECT_EQ(document.defaults.find("steps")->value, 3);
    return document.output.max_bytes;
  };
  EXPECT_EQ(bytes(""), 2'000'000u);
  EXPECT_EQ(bytes("output: {format: webp}\n"), 2'000'000u);
  EXPECT_EQ(bytes("output: {max_bytes: 5kB}\n"), 5000u);
  EXPECT_EQ(bytes("output: {max_bytes: null}\n"), std::nullopt);
  const std::string error = world.error("preset: odd\njobs: [{prompt: a}]");
  EXPECT_NE(error.find("max_bytes is -1"), std::string::npos) << error;
}

}  // namespace
}  // namespace backlot
