#include "media/metadata.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "media/exif.h"
#include "media/picture_io.h"
#include "media/pictures.h"
#include "media/unicode.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

using namespace std::string_literals;

Json apple() {
  return Json::parse(R"({
    "id": "5f2a", "index": 3, "started": "2026-01-01T00:00:00.000Z", "device": "cuda:0",
    "dtype": "float32",
    "parameters": {"prompt": "a red apple", "negative_prompt": "blurry", "seed": 7, "steps": 20,
                   "guidance_scale": 3.5, "width": 128, "height": 96,
                   "scheduler": "dpmpp_2m_karras"},
    "model": {"path": "models/pocket-xl", "fingerprint": "0123456789abcdef0123"}})");
}

Json with_prompt(const std::string& prompt) {
  Json item = apple();
  item["parameters"]["prompt"] = prompt;
  return item;
}

std::string encoded(PictureKind kind, const PictureMetadata& metadata) {
  return encode_picture(waves(16, 12), {.kind = kind}, metadata);
}

class EveryFormat : public testing::TestWithParam<PictureKind> {};
INSTANTIATE_TEST_SUITE_P(Media, EveryFormat,
                         testing::Values(PictureKind::png, PictureKind::jpeg, PictureKind::webp),
                         [](const auto& test) { return std::string(file_extension(test.param)); });

TEST(A1111, WritesTheWidelyReadForm) {
  EXPECT_EQ(a1111_parameters(apple()),
            "a red apple\n"
            "Negative prompt: blurry\n"
            "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 3.5, Seed: 7, "
            "Size: 128x96, Model hash: 0123456789, Model: pocket-xl, Version: backlot 0.1.0");
}

TEST(A1111, NamesThePromptsOfAllScenes) {
  Json item = apple();
  item["parameters"].erase("prompt");
  item["parameters"].erase("negative_prompt");
  item["parameters"]["scenes"] = {{{"prompt", "a fox"}, {"seed", 7}}, {{"prompt", "a hare"}}};
  EXPECT_TRUE(a1111_parameters(item).starts_with("a fox / a hare\nSteps: 20, "));
  // Paths are cut where they lie, not what a scene says of them.
  item["parameters"]["scenes"][0]["prompt"] = "/home is a place";
  EXPECT_EQ(without_folders(item)["parameters"]["scenes"][0]["prompt"], "/home is a place");
}

TEST(A1111, SpellsSamplersAsTheWebUiDoes) {
  const auto line = [](const Json& scheduler) {
    Json item = apple();
    item["parameters"]["scheduler"] = scheduler;
    const std::string text = a1111_parameters(item);
    const size_t from = text.find("Steps: 20, ") + 11;
    return text.substr(from, text.find(", CFG") - from);
  };
  EXPECT_EQ(line("euler"), "Sampler: Euler");
  EXPECT_EQ(line("euler_ancestral"), "Sampler: Euler a");
  EXPECT_EQ(line("ddim"), "Sampler: DDIM");
  EXPECT_EQ(line("dpmpp_2m"), "Sampler: DPM++ 2M");
  EXPECT_EQ(line("dpmpp_2m_sde_karras"), "Sampler: DPM++ 2M SDE, Schedule type: Karras");
  EXPECT_EQ(line("unipc"), "Sampler: UniPC");
  EXPECT_EQ(line("lcm"), "Sampler: LCM");
  EXPECT_EQ(line("heun"), "Sampler: Heun");
  EXPECT_EQ(line("pndm"), "Sampler: PLMS");
  EXPECT_EQ(line({{"_class_name", "EulerDiscreteScheduler"}, {"use_karras_sigmas", true}}),
            "Sampler: Euler, Schedule type: Karras");
  EXPECT_EQ(
      line({{"_class_name", "DPMSolverMultistepScheduler"}, {"algorithm_type", "sde-dpmsolver++"}}),
      "Sampler: DPM++ 2M SDE");
}

TEST(A1111, QuotesValuesThatWouldEndEarly) {
  Json item = apple();
  item["model"]["path"] = "models/fruit, v2: \"ripe\".safetensors";
  const std::string text = a1111_parameters(item);
  EXPECT_NE(text.find(R"(Model: "fruit, v2: \"ripe\"", Version)"), std::string::npos) << text;
  EXPECT_EQ(parse_a1111_parameters(text)["model"]["path"], "fruit, v2: \"ripe\"");
}

TEST(A1111, OmitsAnAbsentNegativePrompt) {
  Json item = apple();
  item["parameters"]["negative_prompt"] = nullptr;
  EXPECT_EQ(a1111_parameters(item).find("Negative"), std::string::npos);
  EXPECT_FALSE(
      parse_a1111_parameters(a1111_parameters(item))["parameters"].contains("negative_prompt"));
}

TEST(A1111, ParsesWhatItWrites) {
  const Json parsed = parse_a1111_parameters(a1111_parameters(apple()));
  const Json expected = Json::parse(R"({"prompt": "a red apple", "negative_prompt": "blurry",
      "seed": 7, "steps": 20, "guidance_scale": 3.5, "width": 128, "height": 96,
      "scheduler": "dpmpp_2m_karras"})");
  EXPECT_EQ(canonical_json(parsed["parameters"]), canonical_json(expected));
  EXPECT_EQ(parsed["model"]["path"], "pocket-xl");
  EXPECT_EQ(parsed["model"]["hash"], "0123456789");
  EXPECT_EQ(parsed["from_a1111_text"], true);
}

TEST(A1111, ParsesTextsOfOtherPrograms) {
  const Json parsed = parse_a1111_parameters(
      "(masterpiece:1.2), a castle,\r\non a hill <lora:stone:0.8>\n"
      "Negative prompt: lowres,\nbad hands\n"
      "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 3141592653, Size: 832x1216, "
      "Model hash: 6ce0161689, Model: castles_v1, Clip skip: 2, Hires upscale: 1.5, "
      "Lora hashes: \"stone: 0123456789ab, moss: ab\", Version: v1.6.0");
  const Json& parameters = parsed["parameters"];
  EXPECT_EQ(parameters["prompt"], "(masterpiece:1.2), a castle,\non a hill <lora:stone:0.8>");
  EXPECT_EQ(parameters["negative_prompt"], "lowres,\nbad hands");
  EXPECT_EQ(parameters["scheduler"], "dpmpp_2m_karras");
  EXPECT_EQ(parameters["seed"], 3141592653u);
  EXPECT_EQ(parameters["height"], 1216);
  EXPECT_FALSE(parameters.contains("clip_skip"));
  EXPECT_EQ(parsed["other"]["Lora hashes"], "stone: 0123456789ab, moss: ab");
  EXPECT_EQ(parsed["other"]["Version"], "v1.6.0");
}

TEST(A1111, KeepsSettingsThatHaveNoCounterpart) {
  const Json parsed = parse_a1111_parameters(
      "x\nSteps: many, Sampler: Restart, Schedule type: Beta, CFG scale: inf, Seed: -1, Size: big");
  EXPECT_EQ(parsed["parameters"], (Json{{"prompt", "x"}}));
  EXPECT_EQ(parsed["other"]["Sampler"], "Restart");
  EXPECT_EQ(parsed["other"]["Schedule type"], "Beta");
  EXPECT_EQ(parsed["other"]["Steps"], "many");
}

TEST(A1111, TakesAPlainTextAsAPrompt) {
  EXPECT_EQ(parse_a1111_parameters("time: 20, a clock")["parameters"],
            (Json{{"prompt", "time: 20, a clock"}}));
}

TEST(A1111, SurvivesAnyText) {
  EXPECT_TRUE(rc::check([](const std::string& text) {
    RC_ASSERT(parse_a1111_parameters(text)["parameters"].contains("prompt"));
    parse_a1111_parameters("Steps: \"" + text + "\", Size: " + text + ", Model: " + text + ":")
        .dump();
  }));
}

TEST_P(EveryFormat, GivesTheRecordBack) {
  std::string long_prompt;
  while (long_prompt.size() < 200'000) long_prompt += "an orchard in autumn, ";
  for (const std::string& prompt : {
           std::string("a red apple"),
           std::string("ein Äpfelchen, 林檎, 🍎 & <b>\"quoted\"</b> ]]> \\n"),
           std::string("two\nlines\r\nand\ta tab \x01 \x7f"),
           std::string("Steps: 20, Sampler: Euler, Seed: 1"),
           std::string("a\nSteps: 1, Sampler: Euler, Seed: 1\nNegative prompt: b"),
           std::string("a</backlot:record><backlot:record>b"),
           "noncharacters \xEF\xBF\xBE\xEF\xBF\xBF, zero \0 end"s,
           std::string(),
           long_prompt,
       }) {
    const auto metadata = describe_picture(with_prompt(prompt));
    const Json back = read_backlot_metadata(encoded(GetParam(), metadata), "picture");
    EXPECT_EQ(back["parameters"]["prompt"].get<std::string>(), prompt);
    EXPECT_EQ(back, metadata.backlot);
  }
}

TEST_P(EveryFormat, GivesTheA1111TextBackWhereThereIsNoRecord) {
  for (const std::string& prompt : {std::string("a red apple"), std::string("林檎 🍎, naïve"),
                                    std::string("a list\nSteps: 20, Sampler: Euler, Seed: 1")}) {
    auto metadata = describe_picture(with_prompt(prompt));
    metadata.backlot = nullptr;
    const Json back = read_backlot_metadata(encoded(GetParam(), metadata), "picture");
    EXPECT_EQ(back["parameters"]["prompt"].get<std::string>(), prompt);
    EXPECT_EQ(back["parameters"]["seed"], 7);
    EXPECT_EQ(back["from_a1111_text"], true);
  }
}

TEST_P(EveryFormat, CarriesTheIptcMarkAndTheTool) {
  const std::string bytes = encoded(GetParam(), describe_picture(apple()));
  EXPECT_NE(bytes.find("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"),
            std::string::npos);
  EXPECT_NE(bytes.find("<xmp:CreatorTool>backlot 0.1.0</xmp:CreatorTool>"), std::string::npos);
}

TEST_P(EveryFormat, LeavesNothingBehindWhenSwitchedOff) {
  const std::string bytes = encoded(GetParam(), {});
  for (const auto word : {"apple", "backlot", "Steps", "xmp", "Exif", "parameters"})
    EXPECT_EQ(bytes.find(word), std::string::npos) << word;
  try {
    read_backlot_metadata(bytes, "plain.png");
    FAIL();
  } catch (const LoadError& error) {
    EXPECT_TRUE(
        std::string(error.what()).starts_with("plain.png: it carries no backlot metadata; "));
  }
}

TEST_P(EveryFormat, NamesNoFolders) {
  Json item = apple();
  item["model"]["path"] = "/home/alice/models/pocket-xl/";
  item["parameters"]["image"] = {{"path", "../alice/photo.png"}, {"sha256", "00"}};
  item["parameters"]["vae"] = "/home/alice/vae";
  item["parameters"]["loras"] = Json::array({{{"path", "/home/alice/l.safetensors"}}});
  item["parameters"]["scheduler"] = {{"_class_name", "X"}, {"_name_or_path", "/home/alice/s"}};
  item["parameters"]["prompt"] = "/imagine an apple";
  auto metadata = describe_picture(item);
  EXPECT_EQ(metadata.backlot.dump().find("alice"), std::string::npos);
  EXPECT_EQ(metadata.parameters.find("alice"), std::string::npos);
  metadata.backlot["parameters"] = item["parameters"];
  const std::string bytes = encoded(GetParam(), metadata);
  EXPECT_EQ(bytes.find("alice"), std::string::npos);
  const Json back = read_backlot_metadata(bytes, "picture");
  EXPECT_EQ(back["parameters"]["prompt"], "/imagine an apple");
  EXPECT_EQ(back["model"]["path"], "pocket-xl");
  EXPECT_EQ(back["parameters"]["vae"], "vae");
}

TEST_P(EveryFormat, RefusesMetadataThatItCouldNotReadBack) {
  const auto metadata = describe_picture(with_prompt(std::string(max_text_bytes, 'x')));
  EXPECT_THROW(encoded(GetParam(), metadata), ItemError);
}

TEST(Metadata, IsTheSameForTheSamePicture) {
  Json later = apple();
  later["started"] = "2027-01-01T00:00:00.000Z";
  later["device"] = "cuda:1";
  later["seconds"] = {{"denoise", 3.0}};
  EXPECT_EQ(describe_picture(later).backlot, describe_picture(apple()).backlot);
}

TEST(Metadata, RefusesRecordsThatAreNotData) {
  for (const char* record : {R"({"parameters": 3})", R"([1])", R"({"model": {}})", R"("text")"}) {
    const PictureMetadata metadata{.backlot = Json::parse(record), .creator = "backlot 0.1.0"};
    EXPECT_THROW(read_backlot_metadata(encoded(PictureKind::png, metadata), "x"), LoadError)
        << record;
  }
}

TEST(Metadata, RefusesDeeplyNestedRecords) {
  Json deep = 1;
  for (int i = 0; i < 200; ++i) deep = Json::array({std::move(deep)});
  const PictureMetadata metadata{.backlot = {{"parameters", {{"x", std::move(deep)}}}},
                                 .creator = "backlot 0.1.0"};
  EXPECT_THROW(read_backlot_metadata(encoded(PictureKind::png, metadata), "x"), LoadError);
}

TEST(Metadata, IsReadFromFiles) {
  TemporaryFolder folder;
  write_file_durably(folder / "a.dat", encoded(PictureKind::webp, describe_picture(apple())));
  EXPECT_EQ(read_backlot_metadata(folder / "a.dat")["parameters"]["seed"], 7);
  write_file_durably(folder / "b.png", "not a picture");
  EXPECT_THROW(read_backlot_metadata(folder / "b.png"), LoadError);
  EXPECT_THROW(read_backlot_metadata(folder / "none.png"), LoadError);
}

TEST(Exif, ReadsUserCommentsOfOtherWriters) {
  // Little-endian files whose comment is big-endian (the web UI's) or little-endian (the
  // standard's).
  const std::string text = "Steps: 20 林";
  for (const auto order : {ByteOrder::big, ByteOrder::little}) {
    const std::string comment = std::string("UNICODE\0", 8) + encode_utf16(text, order);
    std::string block(
        "II\x2A\0\x08\0\0\0"                                // header
        "\x01\0\x69\x87\x04\0\x01\0\0\0\x1A\0\0\0\0\0\0\0"  // IFD0: pointer to 26
        "\x01\0\x86\x92\x07\0",                             // one UserComment
        32);
    block += static_cast<char>(comment.size());
    block += std::string("\0\0\0\x2C\0\0\0\0\0\0\0", 11);
    EXPECT_EQ(decode_exif(block + comment).user_comment, text);
  }
}

TEST(Exif, SurvivesAnyBlock) {
  EXPECT_TRUE(rc::check([](const std::string& tail, bool big) {
    const std::string header(big ? "MM\0\x2A\0\0\0\x08" : "II\x2A\0\x08\0\0\0", 8);
    const int orientation = decode_exif(header + tail).orientation;
    RC_ASSERT(orientation >= 1 && orientation <= 8);
  }));
}

TEST(Unicode, Utf16RoundTripsAndMendsDamage) {
  EXPECT_TRUE(rc::check([](const std::string& bytes, bool big) {
    const auto order = big ? ByteOrder::big : ByteOrder::little;
    const std::string clean = encode_utf8(decode_utf8(bytes));
    RC_ASSERT(is_utf8(clean));
    RC_ASSERT(decode_utf16(encode_utf16(clean, order), order) == clean);
    RC_ASSERT(is_utf8(decode_utf16(bytes, order)));
    RC_ASSERT(is_utf8(bytes) == (clean == bytes));
  }));
}

}  // namespace
}  // namespace backlot
