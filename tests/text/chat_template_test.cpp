#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "base/error.h"
#include "base/files.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

const fs::path data = fs::path(BACKLOT_TEST_DATA) / "chat_templates";
const Json hello = Json::parse(R"([{"role": "user", "content": "Hello"}])");

std::string render(const std::string& source, const Json& messages = hello) {
  return ChatTemplate(source, "template").render(messages, {});
}

// The outcome in the words of cases.json.
Json outcome(const std::string& source, const Json& messages, const ChatVariables& variables) {
  try {
    return {{"text", ChatTemplate(source, "template").render(messages, variables)}};
  } catch (const ItemError&) {
    return {{"error", "refused"}};
  } catch (const LoadError& error) {
    EXPECT_TRUE(error.where().starts_with("template:")) << error.what();
    return {{"error", "wrong"}};
  }
}

class ChatTemplateCases : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC", 1);
    tzset();
  }
};

// What transformers' renderer gives for whole templates and for one construct after the other.
TEST_F(ChatTemplateCases, AreThoseOfTheReference) {
  const Json document = Json::parse(read_file(data / "cases.json"));
  ASSERT_GE(document["cases"].size(), 250u);
  const auto shared = [&](const Json& value) {
    return value.is_string() ? document[value.get<std::string>()] : value;
  };
  for (const Json& one : document["cases"]) {
    const Json& source = one["template"];
    const std::string text =
        source.is_object() ? read_file(data / source["file"]) : source.get<std::string>();
    ChatVariables variables;
    variables.others = shared(one["variables"]);
    variables.add_generation_prompt = one["add_generation_prompt"].get<bool>();
    variables.now = document["now"].get<std::time_t>();
    const Json got = outcome(text, shared(one["messages"]), variables);
    const char* kind = one.contains("text") ? "text" : "error";
    EXPECT_EQ(got.value(kind, Json()), one[kind]) << one["name"] << "\n"
                                                  << text.substr(0, 300) << "\ngave " << got.dump();
  }
}

TEST(ChatTemplate, NamesTheLineOfAMistake) {
  const auto where = [](const std::string& source) -> std::string {
    try {
      render(source);
    } catch (const Error& error) {
      return error.where();
    }
    return "";
  };
  EXPECT_EQ(where("a\nb\n{% if %}"), "template:3");
  EXPECT_EQ(where("a\n{{ 'x' }}\n{{ x.y.z }}"), "template:3");
  EXPECT_EQ(where("a\n\n{% for m in messages %}\n{{ raise_exception('no') }}{% endfor %}"),
            "template:4");
  EXPECT_EQ(where("{# a\nb #}\n{{ 1 / 0 }}"), "template:3");
}

TEST(ChatTemplate, SaysWhatTheModelRefuses) {
  try {
    render("{{ raise_exception('roles must alternate') }}");
    FAIL();
  } catch (const ItemError& error) {
    EXPECT_NE(std::string(error.what()).find("roles must alternate"), std::string::npos);
  }
}

TEST(ChatTemplate, RefusesMessagesThatAreNone) {
  for (const auto& [text, where] : std::map<std::string, std::string>{
           {"{}", "messages"},
           {"[]", "messages"},
           {"[7]", "messages[0]"},
           {R"([{"content": "x"}])", "messages[0]"},
           {R"([{"role": "", "content": "x"}])", "messages[0]"},
           {R"([{"role": 5, "content": "x"}])", "messages[0]"},
           {R"([{"role": "user", "content": "x"}, {"role": "user"}])", "messages[1]"},
           {R"([{"role": "user", "content": " \n"}])", "messages[0]"},
           {R"([{"role": "user", "content": 5}])", "messages[0]"},
           {R"([{"role": "user", "content": []}])", "messages[0]"},
           {R"([{"role": "user", "content": [{"type": "image"}]}])", "messages[0].content[0]"}}) {
    try {
      check_messages(Json::parse(text));
      ADD_FAILURE() << text;
    } catch (const UsageError& error) {
      EXPECT_EQ(error.where(), where) << text;
    }
  }
  EXPECT_NO_THROW(check_messages(
      Json::parse(R"([{"role": "user", "content": [{"type": "text", "text": "x"}]}])")));
}

TEST(ChatTemplate, BoundsWhatATemplateCanDo) {
  const auto repeat = [](const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
  };
  for (const std::string& source : {
           std::string("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}"
                       "{% endfor %}"),
           std::string("{{ 'x' * 1000000000000 }}"),
           std::string("{{ [1] * 1000000000 }}"),
           std::string("{% set n = namespace(s='xxxxxxxx') %}{% for i in range(64) %}"
                       "{% set n.s = n.s + n.s %}{% endfor %}"),
           std::string("{% set n = namespace(l=[1]) %}{% for i in range(90) %}"
                       "{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}"),
           std::string("{% set n = namespace(l=[1]) %}{% for i in range(90) %}"
                       "{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l|tojson }}"),
           std::string("{% set n = namespace(l=[1], k=[1]) %}{% for i in range(90) %}"
                       "{% set n.l = [n.l, n.l] %}{% set n.k = [n.k, n.k] %}{% endfor %}"
                       "{{ n.l == n.k }}"),
           std::string("{% set n = namespace(l=[]) %}{% for i in range(5000) %}"
                       "{% set n.l = [n.l] %}{% endfor %}"),
           std::string("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
           std::string("{% set n = namespace() %}{% set n.n = n %}"),
           std::string("{% for x in [1] %}{{ loop.changed(loop) }}{% endfor %}"),
           "{{ " + repeat("(", 100000) + "1" + repeat(")", 100000) + " }}",
           "{{ " + repeat("not ", 100000) + "1 }}",
           "{{ " + repeat("- ", 100000) + "1 }}",
           "{{ 1" + repeat("+1", 100000) + " }}",
           "{{ 1" + repeat(" and 1", 100000) + " }}",
           "{{ 1" + repeat(" if 1", 100000) + " }}",
           "{{ x" + repeat(".x", 100000) + " }}",
           "{{ x" + repeat("|d", 100000) + " }}",
           "{{ " + repeat("[", 100000) + " }}",
           repeat("{% if 1 %}", 50000),
           repeat("{% for x in y %}", 50000),
           std::string(3 << 20, 'x'),
       }) {
    EXPECT_THROW(render(source), LoadError) << source.substr(0, 100);
  }
}

TEST(ChatTemplate, SurvivesEveryMutation) {
  std::mt19937 random(7);
  std::vector<std::string> sources;
  for (const auto& entry : fs::directory_iterator(data))
    if (entry.path().extension() == ".jinja") sources.push_back(read_file(entry.path()));
  ASSERT_GE(sources.size(), 10u);
  static const std::string pieces[] = {
      "{{", "}}", "{%",   "%}", "{#",   "#}",  "-", "(", ")",  "[",  "]",    "|",        ".",
      "'",  "\"", " if ", ":",  "\xff", "\\x", "~", "*", "**", "is", " in ", "{% raw %}"};
  int rendered = 0, refused = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string source = sources[random() % sources.size()];
    for (int changes = 1 + i % 4; changes > 0; --changes) {
      const size_t at = random() % (source.size() + 1);
      switch (random() % 4) {
        case 0:
          source.erase(at, 1 + random() % 20);
          break;
        case 1:
          source.insert(at, pieces[random() % std::size(pieces)]);
          break;
        case 2:
          source.insert(at, source.substr(random() % source.size(), random() % 60));
          break;
        default:
          if (at < source.size()) source[at] = static_cast<char>(random());
      }
    }
    if (source.empty()) continue;
    ChatVariables variables;
    variables.bos_token = "<s>";
    ++(outcome(source, hello, variables).contains("text") ? rendered : refused);
  }
  EXPECT_GE(rendered, 100);
  EXPECT_GE(refused, 1000);
}

TEST(ChatTemplate, KeepsWhatUsersWriteAsItIs) {
  const Json messages = Json::parse(R"([{"role": "user", "content": "{{ 7 * 7 }}{% x %}"}])");
  EXPECT_EQ(render("{{ messages[0].content }}", messages), "{{ 7 * 7 }}{% x %}");
}

TEST(ChatTemplate, HasTemplatesForModelsWithoutOne) {
  const std::string chatml = render(chatml_template());
  EXPECT_EQ(chatml, "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render(llama3_template()),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

}  // namespace
}  // namespace backlot
