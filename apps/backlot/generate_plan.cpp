// From options to plans, and how a plan is shown before it runs.
#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/text.h"
#include "command.h"
#include "fleet/batching.h"
#include "fleet/devices.h"
#include "generate.h"
#include "log.h"
#include "media/metadata.h"
#include "media/picture_io.h"
#include "media/video_writer.h"
#include "model_store.h"
#include "run/history.h"
#include "spec/alternatives.h"
#include "spec/fields.h"
#include "spec/resolve.h"
#include "spec/scene_spans.h"
#include "version.h"
#include "weights/language_folder.h"
#include "weights/model_folder.h"
#include "weights/video_memory.h"

namespace backlot {
namespace {

// A picture knows its model by name and fingerprint, not by folder: the folder is --model's, or the
// one among the models at hand with that name.
std::string model_for_picture(const Json& record, const std::string& picture) {
  const std::string name = record.contains("model") ? record["model"].value("path", "") : "";
  for (const auto& path : list_models())
    if (!name.empty() && (path.filename() == name || path.stem() == name)) return path.string();
  throw UsageError(picture, fmt::format("was made with the model '{}', which is not at hand", name),
                   "give --model DIR, or point BACKLOT_MODELS at the folder that holds it");
}

std::optional<std::string> variant_of(const Json& parameters) {
  const Json variant = parameters.value("variant", Json());
  return variant.is_string() ? std::optional(variant.get<std::string>()) : std::nullopt;
}

void warn_of_other_model(const Json& record, const std::string& model, const std::string& picture) {
  const std::string made_with =
      record.contains("model") ? record["model"].value("fingerprint", "") : "";
  if (made_with.empty()) return;
  const auto variant = variant_of(record.value("parameters", Json::object()));
  if (fingerprint(ModelFolder::open(model), variant) != made_with)
    log_warning(picture + ": was made with other weights than " + model +
                "; expect another picture");
}

// Options that are no fields of a job but of `output`.
bool is_of_output(std::string_view name) {
  constexpr std::string_view names[] = {"format", "codec", "crf", "quality", "max_bytes"};
  return std::ranges::count(names, name) > 0;
}

std::vector<std::string> sets_with_output(const GenerateOptions& options) {
  std::vector<std::string> sets;
  for (const auto& [name, text] : options.fields)
    if (is_of_output(name)) sets.push_back("output." + name + "=" + text);
  sets.insert(sets.end(), options.sets.begin(), options.sets.end());
  return sets;
}

Json scenes_given(const GenerateOptions& options) {
  if (options.fields.contains("scenes"))
    throw UsageError("--scene", "does not go together with --scenes",
                     "give all scenes in one of the two ways");
  return options.scenes;
}

// A clip's scenes as a job's, but for what the options say of all of them. Braces in their texts
// are no alternatives.
Json scenes_again(const Json& made, const GenerateOptions& options) {
  Json scenes = made;
  if (!scenes.is_array()) return scenes;
  for (auto& scene : scenes) {
    if (!scene.is_object()) continue;
    for (const char* text : {"prompt", "negative_prompt"})
      if (const Json given = scene.value(text, Json()); given.is_string())
        scene[text] = escape_alternatives(given.get<std::string>());
    for (const auto& [name, value] : options.fields)
      if (name != "prompt") scene.erase(name);
    if (options.fields.contains("transition")) scene.erase("transition_frames");
  }
  return scenes;
}

SpecDocument document_from_picture(const GenerateOptions& options) {
  const Json record = read_backlot_metadata(options.from);
  Json fields = Json::object();
  std::vector<std::string> prompts = options.prompts;
  const Json parameters = record.value("parameters", Json::object());
  const bool scenes = parameters.contains("scenes");
  const Task task = parameters.contains("fps") ? Task::text_to_video : Task::text_to_image;
  fields["task"] = task_name(task);
  for (const auto& [name, value] : parameters.items()) {
    const Field* field = find_field(name);
    if (!field || value.is_null() || options.fields.contains(name)) continue;
    // Of a picture by a video model: that it is one frame.
    if (!field->applies_to(task)) continue;
    // Scenes have their own; these are the first one's and of all together.
    if (scenes && (name == "seed" || name == "frames")) continue;
    if (name == "scenes") {
      if (prompts.empty()) fields[name] = scenes_again(value, options);
      continue;
    }
    if (name == "vae")
      throw UsageError(options.from, "was made with another VAE than the model's",
                       "give --vae DIR, the folder of " + value.value("path", std::string("it")));
    // A picture's prompt is final: braces in it are no alternatives.
    const Json literal = field->alternatives && value.is_string()
                             ? Json(escape_alternatives(value.get<std::string>()))
                             : value;
    if (name != "prompt")
      fields[name] = literal;
    else if (prompts.empty() && options.scenes.empty())
      prompts = {literal.is_string() ? literal.get<std::string>() : ""};
  }
  if (!options.scenes.empty()) fields["scenes"] = scenes_given(options);
  for (const auto& [name, text] : options.fields)
    if (!is_of_output(name)) fields[name] = text;
  if (!fields.contains("model")) fields["model"] = model_for_picture(record, options.from);
  warn_of_other_model(record, fields["model"], options.from);
  if (record.value("from_a1111_text", false))
    log_warning(options.from +
                ": carries no backlot record; its parameters are read from the "
                "text of another program and may be incomplete");
  SpecDocument document = quick_spec(fields, prompts, sets_with_output(options));
  if (options.fields.contains("format")) return document;
  const auto sets_format = [](const std::string& set) { return set.starts_with("output"); };
  const std::string extension = fs::path(options.from).extension().string();
  const std::string name = fs::is_directory(options.from) ? "png-sequence"
                           : extension.empty()            ? ""
                                                          : extension.substr(1);
  const auto kind = picture_kind(name);
  const auto clip = video_format(name);
  if (task == Task::text_to_video && clip &&
      std::none_of(options.sets.begin(), options.sets.end(), sets_format))
    document.output.format = name_of(*clip);
  if (task == Task::text_to_image && kind &&
      std::none_of(options.sets.begin(), options.sets.end(), sets_format))
    document.output.format = *kind == PictureKind::png    ? "png"
                             : *kind == PictureKind::jpeg ? "jpeg"
                                                          : "webp";
  return document;
}

SpecDocument document_from_options(const GenerateOptions& options) {
  Json fields = Json::object();
  for (const auto& [name, text] : options.fields)
    if (!is_of_output(name)) fields[name] = text;
  if (!options.scenes.empty()) fields["scenes"] = scenes_given(options);
  const auto of_videos = {"frames", "fps", "scenes", "transition", "transition_frames"};
  if (!fields.contains("task") && !fields.contains("preset") &&
      std::ranges::any_of(of_videos, [&](const char* name) { return fields.contains(name); }))
    fields["task"] = task_name(Task::text_to_video);
  return quick_spec(fields, options.prompts, sets_with_output(options));
}

// A job option beside a spec would be ambiguous (which job?), so it is refused with the way to say
// it.
void refuse_job_options(const GenerateOptions& options) {
  std::string option = !options.prompts.empty()  ? "--prompt"
                       : !options.scenes.empty() ? "--scene"
                                                 : "";
  if (!options.fields.empty()) {
    option = "--" + options.fields.begin()->first;
    std::replace(option.begin(), option.end(), '_', '-');
  }
  if (option.empty()) return;
  throw UsageError(option, "goes with the form without a spec, and a spec is given",
                   "use --set, e.g. --set defaults.steps=4 or --set 'jobs[0].prompt=a pear'");
}

ModelFacts facts_of(const fs::path& path, const std::optional<std::string>& variant,
                    RunInfo& info) {
  const ModelFolder model = ModelFolder::open(path);
  const std::string pipeline = model.pipeline_class();
  const bool wan = pipeline == "WanPipeline";
  if (!wan && !pipeline.starts_with("StableDiffusionXL"))
    throw LoadError(path.string(),
                    fmt::format("is a {}, neither an SDXL nor a Wan pipeline", pipeline),
                    "give a Stable Diffusion XL, SDXL-Turbo or Wan text-to-video model");
  ModelFacts facts;
  facts.fingerprint = fingerprint(model, variant);
  if (wan) {
    facts.family = ModelFamily::wan;
    facts.default_width = 832;
    facts.default_height = 480;
    const VideoSizes sizes = video_sizes(model, variant);
    facts.side_multiple = sizes.spatial * sizes.patch_side;
    facts.frames_multiple = sizes.temporal;
    facts.two_transformers = !model.index().value("boundary_ratio", Json()).is_null();
  } else if (const auto pixels = default_pixels(model))
    facts.default_width = facts.default_height = *pixels;
  const auto known = [&](const ModelInfo& each) { return each.path == path; };
  if (std::none_of(info.models.begin(), info.models.end(), known))
    info.models.push_back({path, facts.fingerprint, model.licence()});
  return facts;
}

std::string language_model_fingerprint(const fs::path& path, RunInfo& info) {
  const LanguageFolder model = LanguageFolder::open(path);
  info.models.push_back({path, fingerprint(model), model.licence()});
  return info.models.back().fingerprint;
}

std::string shown(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// What is there already and would be kept.
int64_t done_before(const PreparedRun& run, const GenerateOptions& options,
                    const std::vector<const Item*>& items) {
  return options.fresh ? 0 : count_done(run.plan.run_folder, items);
}

void print_plan_json(const PreparedRun& run, const GenerateOptions& options, MemoryPlanner& planner,
                     std::span<const DeviceMemory> devices, const std::vector<const Item*>& items) {
  Json out{{"run", run.shown_folder},
           {"items", items.size()},
           {"done", done_before(run, options, items)},
           {"quantization", options.quantize},
           {"memory", Json::array()},
           {"plan", Json::array()}};
  for (const auto& group : group_items(items)) {
    for (const auto& batch : group.batches) {
      const Item& first = *batch.items.front();
      for (const auto& device : devices) {
        Json memory = to_json(planner.plan(first, std::ssize(batch.items), device));
        memory["workers"] = device.workers;
        memory["model"] = first.model.filename().string();
        memory["width"] = first.parameters["width"];
        memory["height"] = first.parameters["height"];
        if (by_video_model(first)) memory["frames"] = first.parameters["frames"];
        memory["items"] = batch.items.size();
        out["memory"].push_back(std::move(memory));
      }
    }
  }
  for (const Item* item : items) {
    out["plan"].push_back(
        {{"id", item->id}, {"output", item->output}, {"parameters", item->parameters}});
    for (const auto& span : scene_spans(item->parameters))
      out["plan"].back()["scenes"].push_back(to_json(span));
  }
  print_result(out.dump());
}

// Each device once, with the number of its workers.
std::vector<DeviceMemory> memory_of(const std::vector<std::string>& workers) {
  const auto devices = list_devices();
  std::vector<DeviceMemory> memory;
  for (const auto& worker : workers) {
    DeviceMemory device = device_memory(devices, worker);
    const auto known = std::ranges::find(memory, device.name, &DeviceMemory::name);
    if (known == memory.end())
      memory.push_back(std::move(device));
    else
      ++known->workers;
  }
  return memory;
}

}  // namespace

std::vector<SpecDocument> read_documents(const GenerateOptions& options) {
  std::vector<SpecDocument> documents;
  if (!options.specs.empty()) {
    refuse_job_options(options);
    if (!options.from.empty())
      throw UsageError("--from", "does not go together with a spec", "give one of the two");
    if (options.specs.size() > 1 && !options.output.empty())
      throw UsageError(
          "--output", "names one run folder, and there are several specs",
          "leave it out (each run goes to its own output.dir/name), or run them singly");
    for (const auto& spec : options.specs) documents.push_back(read_spec(spec, options.sets));
  } else if (!options.from.empty()) {
    documents.push_back(document_from_picture(options));
  } else if (!options.prompts.empty() || !options.scenes.empty() || !options.fields.empty()) {
    documents.push_back(document_from_options(options));
  } else {
    throw UsageError("generate", "neither a spec nor a prompt is given",
                     "name a spec, or give --model and --prompt; see 'backlot generate --help'");
  }
  const SpaceLimits limits = space_limits_of(options);
  for (auto& document : documents) {
    if (options.no_metadata) document.output.metadata = false;
    if (limits.quota) document.output.quota = limits.quota;
    if (limits.min_free) document.output.min_free = limits.min_free;
  }
  return documents;
}

int64_t count_done(const PreparedRun& run) {
  std::vector<const Item*> items;
  for (const auto& item : run.plan.items) items.push_back(&item);
  return count_done(run.plan.run_folder, items);
}

PreparedRun prepare_run(SpecDocument document, const GenerateOptions& options) {
  PreparedRun run{.document = std::move(document)};
  const fs::path folder = options.output.empty()
                              ? fs::path(run.document.output_dir) / run.document.name
                              : fs::path(options.output);
  run.shown_folder = folder.string();
  run.info.backlot_version = version;
  const fs::path absolute = fs::absolute(folder).lexically_normal();
  // Shards may follow in other folders, and are to find the texts of the same items.
  const bool agreed = options.shard || (options.texts_only && !options.fresh);
  run.info.base_seed = agreed ? RunFolder::base_seed(absolute, resolved_spec(run.document))
                              : RunFolder::base_seed(absolute, options.fresh ? Resume::start_over
                                                                             : Resume::from_disk);
  run.plan = make_plan(
      run.document,
      {.model_facts =
           [&](const fs::path& model, const std::optional<std::string>& variant) {
             return facts_of(model, variant, run.info);
           },
       .language_model =
           [&](const fs::path& model) { return language_model_fingerprint(model, run.info); },
       .base_seed = run.info.base_seed,
       .output = absolute});
  check_clips(run, options);
  return run;
}

void print_plan(const PreparedRun& run, const GenerateOptions& options,
                const std::vector<std::string>& workers) {
  std::vector<const Item*> items;
  for (const auto& item : run.plan.items)
    if (!options.shard || options.shard->owns(item)) items.push_back(&item);
  MemoryPlanner planner(memory_wish(options));
  const auto devices = memory_of(workers);
  if (options.json) return print_plan_json(run, options, planner, devices, items);
  print_result(fmt::format("{}: {} item(s){} into {}", run.plan.name, items.size(),
                           options.shard ? fmt::format(" of {} (shard {})", run.plan.items.size(),
                                                       to_string(*options.shard))
                                         : "",
                           run.shown_folder));
  if (const int64_t done = done_before(run, options, items); done > 0)
    print_result(fmt::format("  {} of {} done already, by the journals and the sizes of files",
                             done, items.size()));
  for (const auto& group : group_items(items)) {
    const Item& first = *group.batches.front().items.front();
    print_result(
        fmt::format("  model {}{}", first.model.filename().string(),
                    options.quantize == "none" ? "" : ", quantized to " + options.quantize));
    for (const auto& batch : group.batches) {
      const Item& one = *batch.items.front();
      print_result(fmt::format(
          "    {} × {}x{}{}, {} steps{}{}, scheduler {}", batch.items.size(),
          shown(one.parameters["width"]), shown(one.parameters["height"]), length_of(one),
          shown(one.parameters["steps"]),
          image_request(one).cache > 1
              ? fmt::format(" (deep features every {} steps)", image_request(one).cache)
              : "",
          one.parameters.value("step_cache", 0.0) > 0
              ? fmt::format(" (step cache {:g})", one.parameters["step_cache"].get<double>())
              : "",
          one.parameters.contains("scheduler") && !one.parameters["scheduler"].is_null()
              ? shown(one.parameters["scheduler"])
              : "of the model"));
      for (const auto& device : devices)
        for (const auto& line : memory_lines(planner, one, std::ssize(batch.items), device))
          print_result("      " + line);
    }
  }
  constexpr size_t most_shown = 20;
  for (size_t i = 0; i < std::min(items.size(), most_shown); ++i)
    print_result(fmt::format("  {}  seed {}  {}", items[i]->output,
                             shown(items[i]->parameters["seed"]),
                             printable(prompt_of(items[i]->parameters))));
  if (items.size() > most_shown)
    print_result(fmt::format("  … and {} more; --json lists them all", items.size() - most_shown));
  for (const auto& device : devices) {
    const std::string sharing =
        device.workers > 1 ? fmt::format(", for {} workers", device.workers) : "";
    print_result(device.total == 0
                     ? fmt::format("  memory of {}: not known here", device.name)
                     : fmt::format("  memory of {}: {} free of {}{}", device.name,
                                   human_bytes(device.free), human_bytes(device.total), sharing));
  }
}

}  // namespace backlot
