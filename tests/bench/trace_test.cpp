#include "bench/trace.h"

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "base/error.h"
#include "bench/run_tracer.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

std::vector<TraceSpan> spans_named(const std::vector<TraceSpan>& spans, std::string_view name,
                                   std::string_view category) {
  std::vector<TraceSpan> found;
  for (const auto& span : spans)
    if (span.name == name && span.category == category) found.push_back(span);
  return found;
}

TEST(Trace, ThreadsHaveTracksOfTheirOwn) {
  TraceRecorder recorder;
  recorder.name_thread("compute");
  recorder.span("denoise", "stage", 1, 2);
  std::thread([&] {
    recorder.name_thread("write");
    recorder.span("write", "write", 1.5, 2.5);
  }).join();
  const auto spans = recorder.spans();
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_NE(spans[0].thread, spans[1].thread);
  std::vector<std::string> names;
  const Json trace = recorder.to_json();
  for (const auto& event : trace["traceEvents"])
    if (event["name"] == "thread_name") names.push_back(event["args"]["name"]);
  EXPECT_EQ(names, (std::vector<std::string>{"compute", "write"}));
}

TEST(Trace, ComesBackFromItsFile) {
  TemporaryFolder folder;
  TraceRecorder recorder;
  recorder.name_thread("compute");
  recorder.span("denoise", "stage", 10.25, 12.5, {{"items", {"a.png"}}});
  recorder.item_span("a.png", "denoise", 10.25, 12.5);
  recorder.write(folder / "t.json");
  const auto spans = read_trace(folder / "t.json");
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_NEAR(spans[0].begin, 10.25, 1e-9);
  EXPECT_NEAR(spans[0].seconds(), 2.25, 1e-9);
  EXPECT_EQ(spans[0].thread_name, "compute");
  EXPECT_EQ(spans[0].arguments["items"][0], "a.png");
  EXPECT_EQ(spans[1].category, "item");
  EXPECT_EQ(spans[1].item, "a.png");
  EXPECT_NEAR(spans[1].seconds(), 2.25, 1e-9);
}

TEST(Trace, EventsHaveWhatTheFormatAsksFor) {
  TraceRecorder recorder;
  recorder.span("denoise", "stage", 1, 2);
  recorder.item_span("a.png", "denoise", 1, 2);
  const Json trace = recorder.to_json();
  ASSERT_EQ(trace["traceEvents"].size(), 4u);  // the process's name, one span, both ends of another
  for (const auto& event : trace["traceEvents"]) {
    const std::string phase = event["ph"];
    EXPECT_TRUE(event["pid"].is_number_integer() && event["tid"].is_number_integer());
    if (phase == "M") continue;
    EXPECT_TRUE(event["ts"].is_number()) << event.dump();
    if (phase == "X") {
      EXPECT_EQ(event["dur"], 1e6);
    }
    if (phase == "b" || phase == "e") {
      EXPECT_EQ(event["id"], "a.png");
      EXPECT_EQ(event["cat"], "item");
    }
  }
}

TEST(Trace, KeepsTheFirstSpansAndCountsTheRest) {
  TraceRecorder recorder(3);
  for (int i = 0; i < 10; ++i) recorder.span("s", "stage", i, i + 1);
  EXPECT_EQ(recorder.spans().size(), 3u);
  EXPECT_EQ(recorder.to_json()["otherData"]["spans_left_out"], 7);
}

TEST(Trace, RefusesOtherFiles) {
  TemporaryFolder folder;
  for (const auto* text : {"", "[]", R"({"traceEvents": [{"ph": 3}]})"}) {
    std::ofstream(folder / "x.json") << text;
    EXPECT_THROW(read_trace(folder / "x.json"), EnvironmentError) << text;
  }
}

TEST(Trace, TakesOverOtherProcesses) {
  TraceRecorder recorder;
  recorder.merge({{.name = "load",
                   .category = "stage",
                   .begin = 1,
                   .end = 2,
                   .process = 4711,
                   .thread = 1,
                   .thread_name = "compute"}},
                 "worker 1");
  const std::string text = recorder.to_json().dump();
  EXPECT_NE(text.find("worker 1"), std::string::npos);
  EXPECT_NE(text.find("compute"), std::string::npos);
  EXPECT_NE(text.find("4711"), std::string::npos);
}

TEST(StageTracer, StagesFollowOneAnotherAndHoldTheirSteps) {
  TraceRecorder recorder;
  StageTracer tracer(recorder);
  tracer.stage("load");
  tracer.begin_items({"a.png", "b.png"});  // ends the loading
  tracer.stage("denoise");
  tracer.step(0, 2);
  tracer.step(1, 2);
  tracer.step(2, 2);
  tracer.stage("decode");
  tracer.end();
  tracer.end();
  const auto spans = recorder.spans();
  const auto denoise = spans_named(spans, "denoise", "stage");
  ASSERT_EQ(denoise.size(), 1u);
  EXPECT_EQ(denoise[0].arguments["items"].size(), 2u);
  EXPECT_EQ(spans_named(spans, "denoise", "item").size(), 2u);
  EXPECT_TRUE(spans_named(spans, "load", "item").empty());
  for (const auto* name : {"step 1/2", "step 2/2"}) {
    const auto step = spans_named(spans, name, "step");
    ASSERT_EQ(step.size(), 1u) << name;
    EXPECT_GE(step[0].begin, denoise[0].begin);
    EXPECT_LE(step[0].end, denoise[0].end);
  }
  EXPECT_EQ(spans_named(spans, "decode", "stage").size(), 1u);
}

class Heard : public RunProgress {
 public:
  void begin(const Plan&, int64_t, int64_t) override { words += "begin "; }
  void stage(std::string_view name) override { words += std::string(name) + " "; }
  void step(int64_t, int64_t, int64_t) override { words += "step "; }
  void item_done(const Item&, double) override { words += "done "; }
  void item_failed(const Item&, const std::string&) override { words += "failed "; }
  void warning(const std::string&) override { words += "warning "; }
  void end(const RunTotals&) override { words += "end"; }
  std::string words;
};

TEST(RunTracer, HearsARunAndPassesItOn) {
  TraceRecorder recorder;
  Heard heard;
  RunTracer tracer(heard, recorder);
  Item good, bad;
  good.output = "images/good.png";
  bad.output = "images/bad.png";
  const std::vector<const Item*> batch{&good, &bad};
  tracer.begin({}, 2, 0);
  tracer.stage("load");
  tracer.stage_ended();
  tracer.batch_begun(batch);
  tracer.stage("denoise");
  tracer.step(1, 1, 2);
  tracer.stage_ended();
  std::thread([&] {
    tracer.writing(good);
    tracer.item_done(good, 1);
  }).join();
  tracer.item_failed(bad, "no");  // before its writing: no span of it
  tracer.warning("w");
  tracer.end({});
  EXPECT_EQ(heard.words, "begin load denoise step done failed warning end");
  const auto spans = recorder.spans();
  const auto writes = spans_named(spans, "write", "write");
  ASSERT_EQ(writes.size(), 1u);
  EXPECT_EQ(writes[0].arguments["item"], "images/good.png");
  EXPECT_NE(writes[0].thread, spans_named(spans, "denoise", "stage").at(0).thread);
  EXPECT_EQ(spans_named(spans, "write", "item").at(0).item, "images/good.png");
}

}  // namespace
}  // namespace backlot
