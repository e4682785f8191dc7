#include "spec/scenes.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/text.h"
#include "spec/alternatives.h"
#include "spec/scene_spans.h"

namespace backlot {
namespace {

constexpr int64_t usual_transition_frames = 8;  // half a second at 16 frames a second

// What a next scene begins with in models that are given a picture.
constexpr std::string_view beginnings[] = {"start", "image", "first_frame", "last_frame"};

[[noreturn]] void refuse(Mark mark, std::string what, std::string mend) {
  throw ProblemAt{{std::move(what), std::move(mend)}, mark};
}

[[noreturn]] void refuse_key(const Value::Entry& entry, size_t number) {
  const std::string_view key = entry.key;
  if (std::ranges::count(beginnings, key))
    refuse(entry.mark,
           fmt::format("entry {} has {}, and text-to-video models begin with noise, not with a "
                       "picture",
                       number, key),
           "remove it; `transition: crossfade` softens the change");
  if (find_field(key))
    refuse(entry.mark, fmt::format("entry {} has {}, which all scenes share", number, key),
           "move it to the job");
  const std::string near = nearest(key, scene_keys);
  refuse(entry.mark, fmt::format("entry {} has an unknown field {}", number, key.substr(0, 80)),
         near.empty() ? fmt::format("there are {}", fmt::join(scene_keys, ", "))
                      : fmt::format("did you mean {}?", near));
}

Json checked(const Value::Entry& entry, size_t number) try {
  const Field& field = *find_field(entry.key);
  Json value = check_field(field, entry.value.json());
  if (field.alternatives && value.is_string()) Alternatives{value.get_ref<const std::string&>()};
  return value;
} catch (const Problem& problem) {
  refuse(entry.value.mark(), fmt::format("entry {}: {} {}", number, entry.key, problem.what),
         problem.mend);
}

Json scene_from(const Value& value, size_t number) {
  if (value.is_text())
    return {{"prompt", checked({.key = "prompt", .mark = value.mark(), .value = value}, number)}};
  if (!value.is_map())
    refuse(value.mark(), fmt::format("entry {} is {}", number, value.kind()),
           "give a prompt, or a mapping such as {prompt: a red fox, frames: 33}");
  for (const auto& entry : value.entries())
    if (!std::ranges::count(scene_keys, entry.key)) refuse_key(entry, number);
  const auto* prompt = value.find("prompt");
  if (!prompt || prompt->value.is_null())
    refuse(value.mark(), fmt::format("entry {} has no prompt", number), "add `prompt: …`");
  Json scene = Json::object();
  for (const auto key : scene_keys)
    if (const auto* entry = value.find(key)) scene[std::string(key)] = checked(*entry, number);
  return scene;
}

// Settles what one list of scenes says, with what the job says behind it.
class Settler {
 public:
  Settler(const FieldValues& fields, const FieldValue& scenes, int64_t frames_multiple,
          const Sources& sources, Json& parameters)
      : fields_(fields),
        given_(scenes),
        multiple_(frames_multiple),
        sources_(sources),
        parameters_(parameters) {}

  void settle() {
    insist_on_use_of_transitions();
    for (size_t i = 0; i < given_.value.size(); ++i) add(i);
    insist_on_use_of_lengths();
    for (size_t i = 0; i < lengths_.size(); ++i) check_fades(i);
    parameters_["scenes"] = std::move(scenes_);
    parameters_["frames"] = std::accumulate(lengths_.begin(), lengths_.end(), int64_t{0}) -
                            std::accumulate(fades_.begin(), fades_.end(), int64_t{0});
    for (const char* shared : {"negative_prompt", "transition", "transition_frames"})
      parameters_.erase(shared);
  }

 private:
  const Json* own(size_t scene, const char* key) const {
    const auto found = given_.value[scene].find(key);
    return found == given_.value[scene].end() ? nullptr : &*found;
  }

  // The scene's, else the job's, else what absence means. null takes the job's back.
  Json value_of(size_t scene, const char* key, Json otherwise) const {
    if (const Json* value = own(scene, key)) return value->is_null() ? otherwise : *value;
    const auto* value = fields_.find(key);
    return value && !value->value.is_null() ? value->value : otherwise;
  }

  // Where that is given.
  Mark mark_of(size_t scene, const char* key) const {
    const auto* of_job = fields_.find(key);
    return own(scene, key) || !of_job ? scene_mark(given_, scene, key) : of_job->mark;
  }

  bool says(size_t scene, const char* key) const {
    const Json* value = own(scene, key);
    return value && !value->is_null();
  }

  void add(size_t i) {
    Json scene = {{"prompt", *own(i, "prompt")}};
    if (Json negative = value_of(i, "negative_prompt", Json()); !negative.is_null())
      scene["negative_prompt"] = std::move(negative);
    scene["seed"] = own(i, "seed") ? *own(i, "seed") : Json();
    scene["frames"] = lengths_.emplace_back(length_of(i));
    fades_.push_back(i == 0 ? 0 : fade_of(i, scene));
    if (i == 0) refuse_transition_of_first();
    scenes_.push_back(std::move(scene));
  }

  int64_t length_of(size_t i) const {
    const int64_t frames =
        value_of(i, "frames", Json::parse(find_field("frames")->default_json)).get<int64_t>();
    if (frames == 1)
      sources_.fail(mark_of(i, "frames"), fmt::format("scene {} has 1 frame", i + 1),
                    fmt::format("give {} or more: {} N + 1", multiple_ + 1, multiple_));
    if (frames % multiple_ != 1 % multiple_) {
      const int64_t below = std::max(multiple_, (frames - 1) / multiple_ * multiple_) + 1;
      // Rounded in silence, scenes would not be where the job says.
      sources_.fail(mark_of(i, "frames"),
                    fmt::format("scene {} has {} frames, and this model makes {} N + 1", i + 1,
                                frames, multiple_),
                    below > frames
                        ? fmt::format("the nearest is {}", below)
                        : fmt::format("the nearest are {} and {}", below, below + multiple_));
    }
    return frames;
  }

  // How many frames it shares with the scene before.
  int64_t fade_of(size_t i, Json& scene) {
    const bool crossfade = value_of(i, "transition", "cut") == "crossfade";
    scene["transition"] = crossfade ? "crossfade" : "cut";
    if (!crossfade && says(i, "transition_frames"))
      sources_.fail(mark_of(i, "transition_frames"),
                    fmt::format("scene {} begins with a cut, which takes no frames", i + 1),
                    "remove transition_frames, or write `transition: crossfade`");
    if (!crossfade) return 0;
    const int64_t frames = value_of(i, "transition_frames", usual_transition_frames).get<int64_t>();
    scene["transition_frames"] = frames;
    fades_that_ask_ += !says(i, "transition_frames");
    return frames;
  }

  void refuse_transition_of_first() const {
    for (const char* key : {"transition", "transition_frames"})
      if (says(0, key))
        sources_.fail(mark_of(0, key),
                      fmt::format("scene 1 has {}, and there is no scene before it", key),
                      "remove it, or move it to the scene that it leads to");
  }

  void insist_on_use_of_transitions() const {
    const auto* transition = fields_.find("transition");
    if (given_.value.size() == 1 && transition && !transition->value.is_null())
      sources_.fail(transition->mark, "transition is between scenes, and there is one",
                    "remove it, or add a scene");
  }

  void insist_on_use_of_lengths() const {
    const auto* frames = fields_.find("transition_frames");
    if (frames && !frames->value.is_null() && fades_that_ask_ == 0)
      sources_.fail(frames->mark, "transition_frames is for scenes that cross-fade, and none asks",
                    "remove it, or write `transition: crossfade`");
  }

  // One frame at least that no other scene shows through; so no more than two ever mix.
  void check_fades(size_t i) const {
    const int64_t before = fades_[i], behind = i + 1 < fades_.size() ? fades_[i + 1] : 0;
    if (before + behind < lengths_[i]) return;
    const size_t longer = behind > before ? i + 1 : i;
    const int64_t most = (lengths_[i] - 1) / (before > 0 && behind > 0 ? 2 : 1);
    sources_.fail(mark_of(longer, "transition_frames"),
                  fmt::format("scene {} has {} frames, and shares {} of them in cross-fades", i + 1,
                              lengths_[i], before + behind),
                  fmt::format("give transition_frames of at most {}, or a longer scene", most));
  }

  const FieldValues& fields_;
  const FieldValue& given_;
  int64_t multiple_;
  const Sources& sources_;
  Json& parameters_;
  Json scenes_ = Json::array();
  std::vector<int64_t> lengths_, fades_;
  int fades_that_ask_ = 0;  // of the job how long they are
};

}  // namespace

Json scenes_from(const Value& value) {
  if (!value.is_list())
    refuse(value.mark(), fmt::format("is {}", value.kind()),
           "give a list: a prompt each, or a mapping such as {prompt: a red fox, frames: 33}");
  if (value.items().empty()) refuse(value.mark(), "is empty", "give a prompt for each scene");
  if (value.items().size() > most_scenes)
    refuse(value.mark(), fmt::format("has {} entries", value.items().size()),
           fmt::format("give at most {}, or several jobs", most_scenes));
  Json scenes = Json::array();
  for (const auto& item : value.items()) scenes.push_back(scene_from(item, scenes.size() + 1));
  return scenes;
}

Mark scene_mark(const FieldValue& scenes, size_t scene, std::string_view key) {
  if (scene >= scenes.entries.size()) return scenes.mark;
  const Value& written = scenes.entries[scene];
  const auto* entry = written.find(key);
  return entry ? entry->value.mark() : written.mark();
}

void settle_scenes(const FieldValues& fields, int64_t frames_multiple, const Sources& sources,
                   Json& parameters) {
  const auto* scenes = fields.find("scenes");
  if (scenes && !scenes->value.is_null())
    return Settler(fields, *scenes, frames_multiple, sources, parameters).settle();
  for (const char* key : {"transition", "transition_frames"})
    if (const auto* value = fields.find(key); value && !value->value.is_null())
      sources.fail(value->mark, fmt::format("{} is between scenes, and this job has none", key),
                   fmt::format("add `scenes:`, or write `{}: null` in the job", key));
}

size_t count_scenes(const Json& parameters) {
  const auto scenes = parameters.find("scenes");
  return scenes == parameters.end() ? 0 : scenes->size();
}

void give_scene_seeds(Json& parameters, uint64_t first) {
  uint64_t next = first;
  for (auto& scene : parameters["scenes"]) {
    if (scene["seed"].is_null()) scene["seed"] = next;
    ++next;
  }
  parameters["seed"] = parameters["scenes"][0]["seed"];
}

std::vector<SceneSpan> scene_spans(const Json& parameters) {
  std::vector<SceneSpan> spans;
  const auto scenes = parameters.find("scenes");
  if (scenes == parameters.end()) return spans;
  for (const auto& scene : *scenes) {
    SceneSpan span;
    span.prompt = scene.at("prompt");
    span.seed = scene.at("seed");
    span.frames = scene.at("frames");
    span.shared_before = scene.value("transition_frames", int64_t{0});
    if (!spans.empty())
      span.first_frame = spans.back().first_frame + spans.back().frames - span.shared_before;
    spans.push_back(std::move(span));
  }
  return spans;
}

Json to_json(const SceneSpan& span) {
  return {{"prompt", span.prompt},
          {"seed", span.seed},
          {"first_frame", span.first_frame},
          {"frames", span.frames}};
}

}  // namespace backlot
