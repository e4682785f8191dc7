#include <fmt/format.h>

#include <map>
#include <unordered_map>

#include "base/error.h"
#include "base/files.h"
#include "base/sha256.h"
#include "spec/expansion.h"
#include "spec/output_names.h"
#include "spec/planned_texts.h"
#include "spec/resolve.h"
#include "spec/scenes.h"
#include "spec/spec.h"

namespace backlot {
namespace {

// Builds the items of a plan one after another.
class Planner {
 public:
  Planner(const SpecDocument& document, const PlanContext& context)
      : document_(document),
        context_(context),
        model_(find_model(document, document.model, document.model_mark)),
        names_(document.output.name, document.name, extension(document.output.format)),
        texts_(document, context) {}

  void fill(Plan& plan) {
    items_.reserve(count_items(document_));
    for_each_expansion(document_, [&](const Job& job, const Expansion& expansion) {
      for (uint64_t i = 0; i < expansion.combinations(); ++i)
        add_combination(job, expansion.combination(i), expansion.count());
    });
    plan.items = std::move(items_);
    plan.texts = texts_.take();
  }

 private:
  static std::string extension(const std::string& format) {
    if (is_folder_format(format)) return "";
    return format == "jpeg" ? ".jpg" : "." + format;
  }

  const ModelFacts& facts(const std::optional<std::string>& variant) {
    const auto found = facts_.find(variant);
    if (found != facts_.end()) return found->second;
    return facts_.emplace(variant, context_.model_facts(model_, variant)).first->second;
  }

  // A VAE's folder, with its name and hash as parameters record them.
  struct Vae {
    fs::path folder;
    Json record;
  };
  const Vae& vae_of(const FieldValue& value) {
    const std::string written = value.value;
    const auto found = vaes_.find(written);
    if (found != vaes_.end()) return found->second;
    const fs::path folder = find_model(document_, written, value.mark);
    if (!fs::exists(folder / "config.json") && fs::exists(folder / "vae" / "config.json"))
      throw LoadError(document_.sources.where(value.mark),
                      fmt::format("{} is a whole model, not an autoencoder", folder.string()),
                      fmt::format("give its folder {}", (folder / "vae").string()));
    const fs::path named = folder.has_filename() ? folder : folder.parent_path();
    return vaes_
        .emplace(
            written,
            Vae{folder, {{"path", named.filename().string()}, {"sha256", folder_hash(folder)}}})
        .first->second;
  }

  void add_combination(const Job& job, const FieldValues& fields, uint64_t count) {
    if (document_.task == Task::enhance) return add_texts(job, fields, count);
    Item item{.job = job.id, .model = model_};
    const auto given = [&](std::string_view name) {
      const auto* value = fields.find(name);
      return value && !value->value.is_null() ? value : nullptr;
    };
    std::optional<std::string> variant;
    if (const auto* value = given("variant")) variant = value->value.get<std::string>();
    const ModelFacts& model = facts(variant);
    item.model_fingerprint = model.fingerprint;
    check_for_model(fields, model);
    item.parameters = parameters(fields, model);
    if (document_.task == Task::text_to_video) {
      settle_scenes(fields, model.frames_multiple, document_.sources, item.parameters);
      if (job.enhance && count_scenes(item.parameters) > 0)
        document_.sources.fail(fields.find("scenes")->mark,
                               "an enhance stage makes one prompt rich, and a job has scenes",
                               "write `enhance: false` in the job, and rich prompts in its scenes");
    }
    if (const auto* value = given("vae")) {
      const Vae& vae = vae_of(*value);
      item.vae = vae.folder;
      item.parameters["vae"] = vae.record;
    }

    const int64_t variants = job.enhance ? job.enhance->variants : 1;
    for (int64_t variant = 0; variant < variants; ++variant) {
      if (job.enhance) texts_.add(*job.enhance, variant, item);
      add_seeds(job, item, given("seed"), count);
    }
  }

  // With the task enhance every item is a text.
  void add_texts(const Job& job, const FieldValues& fields, uint64_t count) {
    EnhanceStage stage;
    stage.model = document_.model;
    stage.model_mark = document_.model_mark;
    stage.mark = job.mark;
    stage.variants = static_cast<int64_t>(count);
    Json what = Json::object();
    const FieldValue* seed = nullptr;
    const bool chat = fields.find("messages") && !fields.find("messages")->value.is_null();
    for (const auto& given : fields) {
      const std::string_view name = given.field->name;
      if (given.value.is_null()) continue;
      if (chat && (name == "style" || name == "retries"))
        document_.sources.fail(given.mark,
                               fmt::format("{} has no say in messages, which are answered as they "
                                           "are",
                                           name),
                               fmt::format("remove it, or write `{}: null` in the job", name));
      if (name == "prompt" || name == "messages") {
        what[std::string(name)] = given.value;
      } else if (name == "seed") {
        seed = &given;
      } else if (name == "style") {
        stage.style = given.value;
        stage.style_mark = given.mark;
      } else {
        stage.fields.set(given);
      }
    }
    PlannedText text = texts_.describe(stage, what);
    const uint64_t first = first_seed(seed, PlannedTexts::parameters(text), count);
    for (uint64_t i = 0; i < count; ++i) {
      text.seed = first + i;
      Item item{.job = job.id};
      texts_.add_item(text, item);
      place(job, std::move(item), text.seed);
    }
  }

  uint64_t first_seed(const FieldValue* seed, const Json& parameters, uint64_t count) {
    const uint64_t first = seed ? seed->value.get<uint64_t>() : drawn_seed(parameters);
    const uint64_t scenes = count_scenes(parameters);
    if (first + (count - 1) + (scenes > 0 ? scenes - 1 : 0) < first)
      document_.sources.fail(seed->mark,
                             fmt::format("seed {} + count {}{} is over 2^64-1", first, count,
                                         scenes > 0 ? fmt::format(" + scenes {}", scenes) : ""),
                             "give a smaller seed");
    return first;
  }

  void add_seeds(const Job& job, const Item& like, const FieldValue* seed, uint64_t count) {
    const uint64_t first = first_seed(seed, like.parameters, count);
    for (uint64_t i = 0; i < count; ++i) {
      Item item = like;
      item.parameters["seed"] = first + i;
      if (count_scenes(item.parameters) > 0) give_scene_seeds(item.parameters, first + i);
      item.id = item_id(document_.task, item.parameters, item.model_fingerprint);
      const uint64_t own = item.parameters["seed"];
      place(job, std::move(item), own);
    }
  }

  // Every field that is not absent, in the table's order; the seed's place is kept for add_seeds.
  Json parameters(const FieldValues& fields, const ModelFacts& model) const {
    Json out = Json::object();
    for (const auto& field : job_fields()) {
      if (!field.parameter || !field.applies_to(document_.task)) continue;
      const auto* value = fields.find(&field);
      if (!field.applies_to(model.family)) {
        if (value && !value->value.is_null())
          document_.sources.fail(value->mark,
                                 fmt::format("{} means nothing to this model", field.name),
                                 "remove it, or take another model");
        continue;
      }
      if (field.name == "seed")
        out["seed"] = nullptr;
      else if (value && !value->value.is_null())
        out[std::string(field.name)] = value->value;
      else if (!field.default_json.empty())
        out[std::string(field.name)] = check_field(field, Json::parse(field.default_json));
      else if (field.name == "width")
        out["width"] = model.default_width;
      else if (field.name == "height")
        out["height"] = model.default_height;
      else if (field.name == "original_size" || field.name == "target_size")
        out[std::string(field.name)] = {out["height"], out["width"]};
    }
    // One frame of a video model is a picture.
    if (model.family == ModelFamily::wan && document_.task == Task::text_to_image)
      out["frames"] = 1;
    return out;
  }

  // What the model itself asks of values that fields as such may have.
  void check_for_model(const FieldValues& fields, const ModelFacts& model) const {
    if (document_.task == Task::text_to_video && model.family != ModelFamily::wan)
      throw LoadError(document_.sources.where(document_.model_mark),
                      fmt::format("{} makes pictures, not videos", model_.filename().string()),
                      "name a Wan model, or write `task: text-to-image`");
    for (const char* side : {"width", "height"}) {
      const auto* value = fields.find(side);
      if (!value || value->value.is_null()) continue;
      const auto pixels = value->value.get<int64_t>();
      if (pixels % model.side_multiple == 0) continue;
      document_.sources.fail(value->mark,
                             fmt::format("{} is {}, and this model makes multiples of {}", side,
                                         pixels, model.side_multiple),
                             fmt::format("the nearest are {} and {}",
                                         pixels / model.side_multiple * model.side_multiple,
                                         (pixels / model.side_multiple + 1) * model.side_multiple));
    }
    const auto* second = fields.find("guidance_scale_2");
    if (second && !second->value.is_null() && model.family == ModelFamily::wan &&
        !model.two_transformers)
      document_.sources.fail(second->mark, "guidance_scale_2 is for models of two transformers",
                             "remove it: this one has no boundary_ratio");
  }

  uint64_t drawn_seed(const Json& parameters) {
    Json seedless = parameters;
    seedless.erase("seed");
    const std::string key = canonical_json(seedless);
    const Json drawn = {{"base_seed", context_.base_seed},
                        {"occurrence", occurrences_[sha256_hex(key)]++},
                        {"parameters", std::move(seedless)}};
    // 31 bits, so that with `count` added they stay below 2^32, which other readers of a picture's
    // parameters expect.
    return std::stoull(sha256_hex(canonical_json(drawn)).substr(0, 8), nullptr, 16) & 0x7fffffff;
  }

  // Gives the item its index and its output's name.
  void place(const Job& job, Item item, uint64_t seed) {
    item.index = static_cast<int64_t>(items_.size());
    const auto [earlier, fresh] = by_id_.try_emplace(item.id, items_.size());
    if (!fresh)
      document_.sources.fail(
          job.mark,
          fmt::format("item {} ({}) is the same as item {} ({}): seed {}, prompt \"{}\"",
                      item.index, job.id, earlier->second, items_[earlier->second].job, seed,
                      prompt_of(item.parameters).substr(0, 60)),
          "give one of them another seed, or remove it");
    const auto& p = item.parameters;
    const auto whole = [&](const char* name) { return p.value(name, int64_t{0}); };
    item.output = std::string(output_folder(document_.task)) + "/" +
                  names_.next({.index = item.index,
                               .prompt = prompt_of(p),
                               .seed = seed,
                               .id = item.id,
                               .job = job.id,
                               .width = whole("width"),
                               .height = whole("height"),
                               .steps = whole("steps")});
    items_.push_back(std::move(item));
  }

  const SpecDocument& document_;
  const PlanContext& context_;
  fs::path model_;
  OutputNames names_;
  PlannedTexts texts_;
  std::vector<Item> items_;
  std::map<std::optional<std::string>, ModelFacts> facts_;
  std::map<std::string, Vae> vaes_;  // by what the spec wrote
  std::unordered_map<std::string, uint64_t> occurrences_;
  std::unordered_map<std::string, size_t> by_id_;
};

}  // namespace

std::string_view task_name(Task task) {
  constexpr std::string_view names[] = {"text-to-image", "text-to-video", "enhance",
                                        "analyze-video", "image-to-3d"};
  return names[static_cast<size_t>(task)];
}

std::span<const std::string_view> output_formats(Task task) {
  static constexpr std::string_view texts[] = {"txt"};
  static constexpr std::string_view pictures[] = {"png", "jpeg", "webp"};
  static constexpr std::string_view videos[] = {"mp4", "webm", "gif", "png-sequence",
                                                "mov", "mkv",  "webp"};
  switch (task) {
    case Task::text_to_image:
      return pictures;
    case Task::text_to_video:
      return videos;
    case Task::enhance:
      return texts;
    default:
      return {};
  }
}

std::string_view output_folder(Task task) {
  return task == Task::text_to_video ? "videos" : task == Task::enhance ? "texts" : "images";
}

std::string item_id(Task task, const Json& parameters, std::string_view model_fingerprint) {
  return sha256_hex(canonical_json({{"schema", 1},
                                    {"task", task_name(task)},
                                    {"parameters", parameters},
                                    {"model", model_fingerprint}}));
}

uint64_t count_items(const SpecDocument& document) {
  uint64_t total = 0;
  for_each_expansion(document, [&](const Job& job, const Expansion& expansion) {
    const auto variants = static_cast<uint64_t>(job.enhance ? job.enhance->variants : 1);
    total = saturating_sum(total, saturating_product(expansion.size(), variants));
    if (total > max_items)
      document.sources.fail(
          job.mark,
          total == UINT64_MAX
              ? fmt::format("the spec expands to more than {} items; the limit is {}", total - 1,
                            max_items)
              : fmt::format("the spec expands to {} items up to here; the limit is {}", total,
                            max_items),
          "use fewer alternatives or values, a smaller count, or several specs");
  });
  return total;
}

Plan make_plan(const SpecDocument& document, const PlanContext& context) {
  Plan plan;
  plan.name = document.name;
  plan.task = document.task;
  plan.output = document.output;
  plan.run_folder =
      fs::absolute(context.output ? *context.output : fs::path(document.output_dir) / document.name)
          .lexically_normal();
  plan.spec = resolved_spec(document);
  Planner(document, context).fill(plan);
  return plan;
}

}  // namespace backlot
