#include "spec/yaml.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "base/files.h"

namespace backlot {
namespace {

Value parse(std::string_view text) {
  Sources sources;
  const uint32_t source = sources.add("f");
  return read_yaml(text, sources, source);
}

std::string error_of(std::string_view text) {
  try {
    parse(text);
    return "";
  } catch (const SpecError& error) {
    return error.what();
  }
}

TEST(Yaml, TypesScalarsByTheCoreSchema) {
  EXPECT_EQ(parse("[no, yes, on, true, False, ~, null, '', 007, 0o17, 0x1F, -3, +4, 1.5, 1e3, .5, "
                  "\"1\", '1.5', 1_000, 12:30, 0b1, 2024-01-01]")
                .json()
                .dump(),
            R"(["no","yes","on",true,false,null,null,"",7,15,31,-3,4,1.5,1000.0,0.5,"1","1.5",)"
            R"("1_000","12:30","0b1","2024-01-01"])");
  EXPECT_EQ(parse("[18446744073709551615, -9223372036854775808]").json().dump(),
            "[18446744073709551615,-9223372036854775808]");
  EXPECT_EQ(parse("!!str 12").json(), Json("12"));
}

TEST(Yaml, ReadsJson) {
  const Json json = {
      {"a", {1, 2.5, "x\ny", nullptr}}, {"b", {{"c", true}}}, {"é", "\xf0\x9f\x8d\x8e"}};
  EXPECT_EQ(parse(json.dump(1)).json(), json);
  EXPECT_EQ(parse(json.dump(-1, ' ', true)).json(), json);
}

TEST(Yaml, KnowsWhereValuesStand) {
  const Value root = parse("a: 1\nb:\n  - x\n  - {c: 2}\n");
  const Value& list = root.find("b")->value;
  EXPECT_EQ(root.find("b")->mark.line, 2u);
  EXPECT_EQ(list.items()[0].mark().line, 3u);
  EXPECT_EQ(list.items()[0].mark().column, 5u);
  EXPECT_EQ(list.items()[1].find("c")->value.mark().column, 9u);
}

TEST(Yaml, RepeatsAndMerges) {
  EXPECT_EQ(
      parse("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: {<<: [{r: 1}, *x]}\nd: *x").json().dump(),
      R"({"a":{"p":1,"q":2},"b":{"q":3,"p":1},"c":{"r":1,"p":1,"q":2},"d":{"p":1,"q":2}})");
  EXPECT_EQ(parse("{'<<': 1}").json().dump(), R"({"<<":1})");
}

TEST(Yaml, NamesWhatIsWrongAndWhere) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "f:1:1: the file is empty"},
      {"# only a comment\n", "f:1:1: the file is empty"},
      {"a: 1\nb: 2\na: 3", "f:3:1: the key a is given twice"},
      {"{\"a\": 1, \"a\": 2}", "f:1:10: the key a is given twice"},
      {"a: 1\n---\nb: 2", "the spec goes on after its first document"},
      {",", "the spec goes on after its first document"},
      {"&x [*x]", "f:1:5: this alias stands inside the value that it names"},
      {"a: &x\n  b: *x", "f:2:6: this alias stands inside the value that it names"},
      {"a: *nobody", "f:1:4: not valid YAML"},
      {"a: .nan", "f:1:4: .nan is not a finite number"},
      {"a:\n  - -.inf", "f:2:5: -.inf is not a finite number"},
      {"a: 1e999", "f:1:4: the number 1e999 is not finite"},
      {"a: 99999999999999999999", "f:1:4: the number 99999999999999999999 is too large"},
      {"a: !!python/object:os.system x",
       "f:1:4: the tag tag:yaml.org,2002:python/object:os.system"},
      {"a: !env HOME", "f:1:4: the tag !env is not supported"},
      {"[1]: 2", "f:1:1: a key is missing or is not plain text"},
      {"a:\n\t- b", "indent with spaces"},
      {"prompt: {red|green} apple\nb: 1", "into quotes"},
      {"prompt: a cat: the movie", "into quotes"},
      {"a: [1", "not valid YAML"},
      {"a: \"x", "not valid YAML"},
      {"<<: 3", "f:1:1: `<<` needs a mapping"},
      {std::string("a: 1\nb: \0", 9), "f:2:4: the control character \\x00"},
      {"a: 1\nb: \x04", "f:2:4: the control character \\x04"},
      {"a: \xff", "f:1:1: not valid UTF-8"},
      {std::string("\xff\xfe"
                   "a\0",
                   4),
       "control character"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_NE(error_of(text).find(expected), std::string::npos) << text << "\n" << error_of(text);
}

TEST(Yaml, RefusesBombsEarly) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string alias = "*a" + std::to_string(i - 1);
    bomb.append("a").append(std::to_string(i)).append(": &a").append(std::to_string(i));
    bomb.append(" [").append(alias);
    for (int j = 1; j < 9; ++j) bomb.append(",").append(alias);
    bomb.append("]\n");
  }
  EXPECT_NE(error_of(bomb).find("f:7:"), std::string::npos) << error_of(bomb);
  EXPECT_NE(error_of(bomb).find("counting what aliases repeat"), std::string::npos);

  for (const char* piece : {"[", "{a: ", "- ", "? ", "{", "[{"}) {
    std::string deep;
    while (deep.size() < 1'000'000) deep += piece;
    EXPECT_NE(error_of(deep), "") << piece;
  }
  const std::string deeper =
      std::string(max_spec_depth + 1, '[') + std::string(max_spec_depth + 1, ']');
  EXPECT_NE(error_of(deeper).find("f:1:65: nested more than 64 levels deep"), std::string::npos);
  EXPECT_EQ(error_of(std::string(max_spec_depth, '[') + std::string(max_spec_depth, ']')), "");
  EXPECT_NE(error_of(std::string(max_spec_bytes + 1, ' ')).find("larger than 16.0 MiB"),
            std::string::npos);
}

TEST(Yaml, EndsOnEveryShortDocument) {
  int refused = 0;
  for (int a = 0; a < 128; ++a) {
    refused += !error_of(std::string(1, static_cast<char>(a))).empty();
    for (int b = 0; b < 128; ++b)
      refused += !error_of(std::string{static_cast<char>(a), static_cast<char>(b)}).empty();
  }
  EXPECT_GT(refused, 1000);
  const std::string signs = "-:,[]{}&*!|>'\"%@#? a\n";
  for (const char a : signs)
    for (const char b : signs)
      for (const char c : signs) error_of(std::string{a, b, c, ','});
}

TEST(Yaml, EndsOnMutatedSpecs) {
  std::mt19937 random(7);
  const std::string signs = "-:,[]{}&*!|>'\"%@#? a\n\t\\0";
  int refused = 0;
  for (const char* name : {"sweep.yaml", "demo.yaml", "presets.yaml"}) {
    const std::string text = read_file(fs::path(BACKLOT_SOURCE_DIR) / "jobspecs" / name);
    for (int i = 0; i < 1000; ++i) {
      std::string mutated = text;
      for (unsigned n = random() % 4 + 1; n-- > 0 && !mutated.empty();) {
        const size_t at = random() % mutated.size();
        const char sign = signs[random() % signs.size()];
        switch (random() % 4) {
          case 0:
            mutated[at] = sign;
            break;
          case 1:
            mutated.insert(at, 1, sign);
            break;
          case 2:
            mutated.erase(at, random() % 8 + 1);
            break;
          default:
            mutated.resize(at);
        }
      }
      refused += !error_of(mutated).empty();
    }
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace backlot
