#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>

#include "base/text.h"
#include "command.h"
#include "engine/video.h"
#include "fleet/memory_plan.h"
#include "language/session.h"
#include "model_store.h"
#include "schedulers/names.h"
#include "text/clip_tokenizer.h"
#include "text/tokenize_folder.h"
#include "weights/inspect.h"
#include "weights/model_folder.h"

namespace backlot {
namespace {

struct ModelsOptions {
  std::string action = "list", path;
  std::optional<std::string> variant;
  bool json = false;
};

// What one process needs for pictures of the model's own size, a line a device and precision.
struct Need {
  std::string device, dtype;
  int64_t pixels = 0;  // width and height
  NeededMemory held;   // with one picture; text encoders in memory
  uint64_t each_more = 0;
};

std::vector<Need> needs(const ModelSummary& model) {
  std::vector<Need> all;
  if (!model.problems.empty() || !model.pipeline_class.starts_with("StableDiffusionXL")) return all;
  const ModelFolder folder = ModelFolder::open(model.path);
  Item item;
  item.model = model.path;
  item.model_fingerprint = known_fingerprint(folder, model.variant).value_or("");
  const int64_t pixels = default_pixels(folder).value_or(1024);
  item.parameters = Json{{"prompt", ""},
                         {"seed", 0},
                         {"steps", 1},
                         {"width", pixels},
                         {"height", pixels},
                         {"guidance_scale", 5.0},
                         {"variant", model.variant ? Json(*model.variant) : Json()}};
  MemoryPlanner planner{MemoryWish{}};
  const auto devices = list_devices();
  for (const auto& device : devices) {
    const DeviceMemory memory = device_memory(devices, device.name);
    for (const char* dtype : {"float32", "bfloat16", "float16"}) {
      const Manner manner{.dtype = dtype};
      Need need{.device = device.name, .dtype = dtype, .pixels = pixels};
      need.held = planner.need(item, memory, manner, 1);
      // Several pictures may be decoded one after the other: then only many show what one takes.
      constexpr int64_t many = 9;
      const uint64_t more = planner.need(item, memory, manner, many).peak();
      need.each_more = (std::max(more, need.held.peak()) - need.held.peak()) / (many - 1);
      all.push_back(std::move(need));
    }
  }
  return all;
}

Json to_json(const Need& need) {
  return {{"device", need.device},
          {"dtype", need.dtype},
          {"width", need.pixels},
          {"height", need.pixels},
          {"process", need.held.fixed},
          {"networks", need.held.networks},
          {"text_encoders", need.held.text_encoders},
          {"first_picture", need.held.working},
          {"each_more_picture", need.each_more},
          {"measured", need.held.measured}};
}

// What one process needs for a clip of the size that Wan's 1.3B model is for, with the text encoder
// in each of the places that it can be in.
struct ClipNeed {
  std::string device;
  Manner manner;
  NeededMemory held;
};

// What a card of "12 GB" has at the least.
constexpr uint64_t small_gpu = 12'000'000'000;

Item clip_item(const ModelSummary& model, const ModelFolder& folder) {
  const VideoRequest usual;
  Item item;
  item.model = model.path;
  item.model_fingerprint = known_fingerprint(folder, model.variant).value_or("");
  item.parameters = Json{{"prompt", ""},
                         {"seed", 0},
                         {"steps", 1},
                         {"width", usual.width},
                         {"height", usual.height},
                         {"frames", usual.frames},
                         {"guidance_scale", usual.guidance_scale},
                         {"variant", model.variant ? Json(*model.variant) : Json()}};
  return item;
}

bool makes_clips(const ModelSummary& model) {
  return model.problems.empty() && model.pipeline_class == "WanPipeline";
}

// A GPU's figures are told where there is none, too: they are what a card is bought by.
std::vector<ClipNeed> clip_needs(const ModelSummary& model) {
  const Item item = clip_item(model, ModelFolder::open(model.path));
  MemoryPlanner planner{MemoryWish{}};
  auto devices = list_devices();
  if (std::ranges::none_of(devices, [](const Device& device) { return device.name != "cpu"; }))
    devices.emplace_back().name = "cuda:0";
  std::vector<ClipNeed> all;
  for (const auto& device : devices)
    for (const char* dtype : {"float32", "bfloat16", "float16"})
      for (const auto place :
           {TextEncoderPlace::held, TextEncoderPlace::while_encoding, TextEncoderPlace::host}) {
        if (place == TextEncoderPlace::host && device.name == "cpu") continue;
        const Manner manner{.dtype = dtype,
                            .text_encoders_out = place != TextEncoderPlace::held,
                            .text_encoder_on_host = place == TextEncoderPlace::host};
        all.push_back({device.name, manner,
                       planner.need(item, device_memory(devices, device.name), manner, 1)});
      }
  return all;
}

std::string_view place_name(const Manner& manner) {
  return manner.text_encoder_on_host ? "on the host"
         : manner.text_encoders_out  ? "while encoding"
                                     : "held";
}

// Whether it fits a small card, and how.
BatchPlan small_gpu_plan(const ModelSummary& model) {
  DeviceMemory card;
  card.name = "cuda:0";
  card.total = card.free = small_gpu;
  card.fast_bfloat16 = true;
  return MemoryPlanner{MemoryWish{}}.plan(clip_item(model, ModelFolder::open(model.path)), 1, card);
}

Json clip_needs_json(const ModelSummary& model) {
  const VideoRequest usual;
  Json out = Json::array();
  for (const auto& [device, manner, held] : clip_needs(model))
    out.push_back({{"device", device},
                   {"dtype", manner.dtype},
                   {"text_encoder", place_name(manner)},
                   {"width", usual.width},
                   {"height", usual.height},
                   {"frames", usual.frames},
                   {"peak", held.peak()},
                   {"process", held.fixed},
                   {"networks", held.networks},
                   {"text_encoders", held.text_encoders},
                   {"clip", held.working},
                   {"measured", held.measured}});
  return out;
}

void print_clip_needs(const ModelSummary& model) {
  const VideoRequest usual;
  print_result(
      fmt::format("  memory for a clip of {}x{} and {} frames, with the text encoder in "
                  "memory all the time, only while encoding, or on a GPU's host:",
                  usual.width, usual.height, usual.frames));
  std::string line;
  for (const auto& [device, manner, held] : clip_needs(model)) {
    if (!manner.text_encoders_out) {
      if (!line.empty()) print_result(line);
      line = fmt::format("  {:<6} in {:<8} ({:>9} networks, {:>9} the clip):", device, manner.dtype,
                         human_bytes(held.networks), human_bytes(held.working));
    }
    line += fmt::format(" {} {}{}", place_name(manner), human_bytes(held.peak()),
                        held.measured ? " (measured)" : "");
  }
  print_result(line);
  const BatchPlan plan = small_gpu_plan(model);
  Manner planned;
  planned.text_encoders_out = plan.text_encoders_out;
  planned.text_encoder_on_host = plan.text_encoder_on_host;
  const std::string peak = human_bytes(plan.need.peak());
  print_result(fmt::format(
      "  a GPU of 12 GB: {}",
      plan.fits ? fmt::format("{} in {}, text encoder {}{}", peak, plan.dtype, place_name(planned),
                              plan.vae_tiling ? ", decoded in tiles" : "")
                : fmt::format("too small, {} at the least", peak)));
}

void print_needs(const ModelSummary& model) {
  if (makes_clips(model)) return print_clip_needs(model);
  for (const auto& need : needs(model))
    print_result(fmt::format(
        "  {} in {:<8} at {}x{}: {:>9} (networks {}, text encoders {}, process {}, a picture {}), "
        "each more {}; {}",
        need.device, need.dtype, need.pixels, need.pixels, human_bytes(need.held.peak()),
        human_bytes(need.held.networks), human_bytes(need.held.text_encoders),
        human_bytes(need.held.fixed), human_bytes(need.held.working), human_bytes(need.each_more),
        need.held.measured ? "measured" : "estimated"));
}

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

void print_language(const DecoderConfig& config) {
  constexpr int64_t tokens = 1000;
  print_result(
      fmt::format("  {} layers of {}, {} attention heads of {} ({} for keys and values), "
                  "{} tokens in the vocabulary, {} in the context",
                  config.num_hidden_layers, config.hidden_size, config.num_attention_heads,
                  config.head_dim, config.num_key_value_heads, grouped(config.vocab_size),
                  grouped(config.max_position_embeddings)));
  const auto kept = [&](int64_t bytes) {
    return human_bytes(static_cast<uint64_t>(tokens * key_value_bytes(config, bytes)));
  };
  print_result(
      fmt::format("  keys and values of {} tokens in memory: {} as float32, {} as bfloat16",
                  grouped(tokens), kept(4), kept(2)));
}

void print_summary(const ModelSummary& model) {
  print_result(fmt::format("{}\n  {}, {}", model.path.string(), model.kind, model.pipeline_class));
  for (const auto& part : model.components) {
    std::string dtypes;
    for (const auto& [dtype, count] : part.dtypes) dtypes += (dtypes.empty() ? "" : ", ") + dtype;
    print_result(fmt::format("  {:<16} {:<32} {:>16} parameters {:>10} {}", part.name,
                             part.class_name, grouped(part.parameters), human_bytes(part.bytes),
                             dtypes));
  }
  const auto weights = static_cast<uint64_t>(model.parameters());
  print_result(
      fmt::format("  {} parameters; weights in memory: {} as float32, {} as bfloat16 or float16{}",
                  grouped(model.parameters()), human_bytes(4 * weights), human_bytes(2 * weights),
                  model.kind == "GGUF" ? ", " + human_bytes(model.bytes()) + " as stored" : ""));
  if (model.language) print_language(*model.language);
  if (model.licence) print_result(fmt::format("  licence: {}", *model.licence));
  for (const auto& problem : model.problems) print_result("  problem: " + problem);
}

ExitCode list(const ModelsOptions& options) {
  Json all = Json::array();
  const auto paths = list_models();
  for (const auto& path : paths) {
    try {
      const ModelSummary model = inspect_model(path);
      all.push_back(to_json(model));
      if (!options.json)
        print_result(fmt::format("{}  {}, {} parameters{}", path.string(), model.pipeline_class,
                                 grouped(model.parameters()),
                                 model.problems.empty() ? "" : ", damaged"));
    } catch (const LoadError& error) {
      // One damaged model must not hide the others.
      all.push_back({{"path", path.string()}, {"problems", {error.what()}}});
      if (!options.json) print_result(fmt::format("{}  damaged: {}", path.string(), error.what()));
    }
  }
  if (options.json) print_result(all.dump(2));
  if (paths.empty() && !options.json)
    throw EnvironmentError("models", "none found below $BACKLOT_MODELS or ./models",
                           "point BACKLOT_MODELS at the folder that holds your model folders");
  return ExitCode::done;
}

// What a pipeline reads besides configs and weights: vocabularies, and the scheduler's options.
void check_companions(ModelSummary& model) {
  const auto check = [&](const auto& read) {
    try {
      read();
    } catch (const Error& error) {
      model.problems.push_back(error.what());
    }
  };
  if (model.language && model.problems.empty())
    check([&] {
      const auto tokenizer = open_tokenizer(LanguageFolder::open(model.path));
      tokenizer.render_chat(Json::array({Json{{"role", "user"}, {"content", "Hello"}}}));
    });
  if (!model.pipeline_class.starts_with("StableDiffusionXL")) return;
  const ModelFolder folder = ModelFolder::open(model.path);
  for (const char* tokenizer : {"tokenizer", "tokenizer_2"})
    check([&] { ClipTokenizer::load(folder.tokenizer_folder(tokenizer)); });
  check([&] { resolve_scheduler_config(Json(), folder.config("scheduler")); });
}

ExitCode show(const ModelsOptions& options) {
  ModelSummary model = inspect_model(find_model(options.path), options.variant);
  check_companions(model);
  if (options.json) {
    Json json = to_json(model);
    json["need"] = Json::array();
    for (const auto& need : needs(model)) json["need"].push_back(to_json(need));
    if (makes_clips(model)) json["need"] = clip_needs_json(model);
    print_result(json.dump(2));
  } else if (options.action == "show" || !model.problems.empty()) {
    print_summary(model);
    print_needs(model);
  } else {
    print_result(options.path +
                 (model.language
                      ? ": files, config, tensors, tokenizer and chat template are sound"
                      : ": files, configs, vocabularies and scheduler are sound (tensor names "
                        "and shapes are checked when it is loaded)"));
  }
  return model.problems.empty() ? ExitCode::done : ExitCode::environment;
}

ExitCode tokenize(const ModelsOptions& options) {
  const std::string input{std::istreambuf_iterator<char>(std::cin), {}};
  const Json texts = Json::parse(input, nullptr, false);
  std::vector<std::string> strings;
  for (const auto& text : texts.is_array() ? texts : Json::array({0})) {
    if (!text.is_string())
      throw UsageError("standard input", "is not a JSON array of strings",
                       R"(give one, e.g. echo '["a red apple"]' | backlot models tokenize DIR)");
    strings.push_back(text);
  }
  print_result(Json(tokenize_with_folder(options.path, strings)).dump());
  return ExitCode::done;
}

}  // namespace

Run declare_models(CLI::App& app) {
  const auto options = std::make_shared<ModelsOptions>();
  app.add_option("action", options->action,
                 "list: what is found below $BACKLOT_MODELS and ./models; show: components, "
                 "parameters, memory; check: is it whole; tokenize: a JSON array of strings on "
                 "standard input into token ids")
      ->check(CLI::IsMember({"list", "show", "check", "tokenize"}));
  app.add_option("path", options->path,
                 "a model folder, checkpoint or GGUF; for tokenize the tokenizer's folder");
  app.add_option("--variant", options->variant, "look at this variant's weights, e.g. fp16");
  app.add_flag("--json", options->json, "print JSON");
  return [options](StopSignal&) {
    if (options->action == "list") return list(*options);
    if (options->path.empty())
      throw UsageError("models " + options->action, "no path given", "name a model folder");
    return options->action == "tokenize" ? tokenize(*options) : show(*options);
  };
}

}  // namespace backlot
