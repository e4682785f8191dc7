// From options to what is to be measured.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>

#include "base/machine.h"
#include "base/text.h"
#include "bench.h"
#include "command.h"
#include "device_option.h"
#include "engine/probe.h"
#include "fleet/devices.h"
#include "generate.h"
#include "model_store.h"
#include "weights/model_folder.h"

namespace backlot {
namespace {

constexpr double usual_threshold = 0.1;
constexpr uint64_t max_result_bytes = uint64_t{256} << 20;

// What is measured where no option says otherwise.
struct Defaults {
  Size size{1024, 1024};
  std::vector<int64_t> steps, batch_sizes;
  double guidance_scale = 5;
};

std::vector<std::string> list_of(const std::string& option, const std::string& text) {
  std::vector<std::string> words;
  for (const auto& word : split(text, ',')) words.emplace_back(trim(word));
  if (std::ranges::any_of(words, [](const std::string& word) { return word.empty(); }))
    throw UsageError(option + " " + text, "has an empty entry",
                     "separate entries by single commas, as in 1,4,8");
  std::vector<std::string> unique;
  for (auto& word : words)
    if (std::ranges::find(unique, word) == unique.end()) unique.push_back(std::move(word));
  return unique;
}

std::optional<int64_t> whole_number(std::string_view text, int64_t least, int64_t most) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    return std::nullopt;
  return value;
}

std::vector<int64_t> numbers_of(const std::string& option, const std::string& text, int64_t most) {
  std::vector<int64_t> numbers;
  for (const auto& word : list_of(option, text)) {
    const auto number = whole_number(word, 1, most);
    if (!number)
      throw UsageError(fmt::format("{} {}", option, text),
                       fmt::format("'{}' is no whole number from 1 to {}", word, most),
                       "give one or a list, as in 1,4,8");
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<Size> sizes_of(const std::string& text) {
  std::vector<Size> sizes;
  for (const auto& word : list_of("--size", text)) {
    const size_t by = word.find('x');
    const auto side = [&](std::string_view digits) {
      const auto number = whole_number(digits, 8, 16384);
      return number && *number % 8 == 0 ? number : std::nullopt;
    };
    const auto width = by == std::string::npos ? std::nullopt : side(word.substr(0, by));
    const auto height = by == std::string::npos ? std::nullopt : side(word.substr(by + 1));
    if (!width || !height)
      throw UsageError("--size " + text,
                       fmt::format("'{}' is no WIDTHxHEIGHT in multiples of 8, 8 to 16384", word),
                       "give one or a list, as in 512x512,1024x768");
    sizes.push_back({*height, *width});
  }
  return sizes;
}

std::vector<std::string> dtypes_of(const std::string& text) {
  auto dtypes = list_of("--dtype", text);
  for (const auto& dtype : dtypes) precision_of(dtype);
  return dtypes;
}

bool holds(const std::vector<std::string>& suites, const char* suite) {
  return std::ranges::find(suites, suite) != suites.end();
}

// Options that would have no say in any of the suites.
void check_options(const BenchOptions& options, const std::vector<std::string>& suites) {
  const auto refuse = [](const char* option, const char* why) {
    throw UsageError(option, why, "leave it out");
  };
  if (!holds(suites, "language") && options.quantize != "auto")
    refuse("--quantize", "is for suite language");
  if (!holds(suites, "video") && !options.frames.empty()) refuse("--frames", "is for suite video");
  if (suites == std::vector<std::string>{"video"} && !options.batch_sizes.empty())
    refuse("--batch-size", "has no say in suite video: clips are made one by one");
  if (suites != std::vector<std::string>{"language"}) return;
  if (!options.sizes.empty()) refuse("--size", "has no say in suite language");
  if (!options.steps.empty()) refuse("--steps", "has no say in suite language");
  if (options.guidance_scale) refuse("--guidance-scale", "has no say in suite language");
  if (!options.variant.empty()) refuse("--variant", "has no say in suite language");
}

// Whether a suite asks for the model that makes pictures.
bool makes_pictures(const std::vector<std::string>& suites) {
  return std::ranges::any_of(
      suites, [](const std::string& suite) { return suite != "language" && suite != "video"; });
}

Defaults defaults_for(const BenchRequest& request) {
  const bool gpu = request.device.starts_with("cuda");
  // Only suites that make pictures look at these.
  if (!makes_pictures(request.suites)) return {.steps = {1}, .batch_sizes = {1}};
  if (!request.synthetic || fs::exists(*request.synthetic)) {
    const ModelFolder model =
        ModelFolder::open(request.synthetic ? fs::path(*request.synthetic) : request.model);
    const std::string pipeline = model.pipeline_class();
    if (!pipeline.starts_with("StableDiffusionXL"))
      throw LoadError(model.path().string(), fmt::format("is a {}, not an SDXL pipeline", pipeline),
                      "give a Stable Diffusion XL or SDXL-Turbo model");
    const int64_t pixels = default_pixels(model).value_or(1024);
    return {.size = {pixels, pixels}, .steps = {20}, .batch_sizes = {1, 4}};
  }
  if (*request.synthetic == "sdxl-turbo")
    return {.size = {512, 512}, .steps = {1}, .batch_sizes = {1}, .guidance_scale = 0};
  if (request.synthetic->starts_with("wan"))
    return {.size = {480, 832}, .steps = {50}, .batch_sizes = {1}};
  // Thirty steps of full size take a CPU many minutes; a few tell what a step takes.
  return {.steps = {gpu ? 30 : 4}, .batch_sizes = {1}};
}

}  // namespace

void declare_bench_options(CLI::App& app, BenchOptions& options) {
  offer_values(
      *app.add_option("suites", options.suites,
                      "image, video, language, load, kernels, fleet (default: all that can)"),
      bench_suites());
  app.add_option("--model", options.model,
                 "a model's folder (default: the bundled pocket-xl and smollm2)");
  app.add_option("--variant", options.variant, "fp16 picks *.fp16.safetensors");
  app.add_option("--synthetic", options.synthetic,
                 "full size with random weights: " +
                     fmt::format("{}", fmt::join(known_architectures(), ", ")))
      ->excludes("--model")
      ->excludes("--variant");
  app.add_option("--device", options.device, "cpu, cuda, cuda:N or auto (a GPU if there is one)");
  offer_values(
      *app.add_option("--dtype", options.dtypes, "a list of float32, bfloat16, float16, auto"),
      precision_names);
  app.add_option("--quantize", options.quantize,
                 "a language model's weights: int8 or int4 on the CPU, none, or auto")
      ->check(CLI::IsMember({"auto", "none", "int8", "int4"}));
  app.add_option("--threads", options.threads, "CPU threads (else all that may be used)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--batch-size", options.batch_sizes, "a list: pictures or texts made together");
  app.add_option("--size", options.sizes, "a list of WIDTHxHEIGHT");
  app.add_option("--frames", options.frames, "a list: frames of suite video's clips");
  app.add_option("--steps", options.steps, "a list: denoising steps");
  app.add_option("--guidance-scale", options.guidance_scale, "at most 1: no guidance")
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--repeats", options.repeats, "how often each case is measured (else 3 or 5)")
      ->check(CLI::Range(1, 10000));
  app.add_option("--warm-up", options.warm_up, "rounds before, not counted (1)")
      ->check(CLI::Range(0, 10000));
  app.add_option("--filter", options.filters, "only cases whose name holds this; repeatable")
      ->allow_extra_args(false);
  app.add_option("-o,--output", options.output,
                 "a folder for bench.json and report.html, or a name that ends in .json");
  app.add_option("--report", options.report, "write the page to this file");
  app.add_option("--trace", options.trace, "write a Chrome trace: every stage and step");
  app.add_option("--baseline", options.baseline, "compare with this earlier bench.json");
  app.add_option("--threshold", options.threshold,
                 "percent by which a median may rise over the baseline's (10)")
      ->check(CLI::Range(0.0, 10000.0));
  app.add_flag("--json", options.json, "print the results as JSON instead of tables");
  app.add_flag("-q,--quiet", options.quiet, "no messages while it measures");
  app.add_flag("-v,--verbose", options.verbose, "more detail");
  app.add_flag("--log-json", options.log_json, "messages as JSON, one object a line");
}

// Of suite video: what a few minutes of a CPU are enough for; a GPU makes what the models are for.
void fill_video(BenchRequest& request, const BenchOptions& options) {
  const bool small = !request.synthetic && options.model.empty();  // the bundled model
  const bool gpu = request.device.starts_with("cuda");
  const Size usual = gpu ? Size{480, 832} : Size{256, 256};
  request.video_sizes =
      options.sizes.empty() ? std::vector{small ? Size{64, 64} : usual} : request.sizes;
  request.frames = options.frames.empty() ? std::vector<int64_t>{gpu && !small ? 81 : 17}
                                          : numbers_of("--frames", options.frames, 10000);
  request.video_steps = options.steps.empty() ? std::vector<int64_t>{small ? 20
                                                                     : gpu ? 50
                                                                           : 2}
                                              : request.steps;
  std::erase_if(request.video_sizes, [&](const Size& size) {
    const bool unfit = size[0] % 16 != 0 || size[1] % 16 != 0;
    if (unfit && holds(options.suites, "video"))
      throw UsageError("--size " + size_name(size), "suite video takes multiples of 16",
                       "give another size");
    return unfit;
  });
  if (!makes_pictures(request.suites)) {
    request.sizes = request.video_sizes;
    request.steps = request.video_steps;
  }
}

BenchRequest bench_request(const BenchOptions& options) {
  BenchRequest request{.repeats = options.repeats, .warm_up = options.warm_up};
  if (!options.synthetic.empty()) request.synthetic = synthetic_of(options.synthetic);
  request.suites = suites_of(options);
  check_device_name(options.device);
  check_device(options.device);
  request.device = choose_device(options.device);
  if (request.device == "cuda") request.device = "cuda:0";
  request.threads = options.threads > 0 ? options.threads : usable_processors();
  request.dtypes = dtypes_of(options.dtypes);
  request.filters = options.filters;
  if (!options.variant.empty()) request.variant = options.variant;
  const bool language = holds(request.suites, "language");
  const bool only_language = language && request.suites.size() == 1;
  const bool pictures = makes_pictures(request.suites);
  check_options(options, request.suites);
  request.quantize = options.quantize;
  if (!request.synthetic && pictures)
    request.model = fs::absolute(model_of(options)).lexically_normal();
  if (!request.synthetic && language)
    request.language_model = fs::absolute(language_model_of(options)).lexically_normal();
  request.language_name = shown_name(request.synthetic.value_or(request.language_model.string()));
  if (!request.synthetic && holds(request.suites, "video"))
    request.video_model = fs::absolute(video_model_of(options)).lexically_normal();
  request.video_name = shown_name(request.synthetic.value_or(request.video_model.string()));
  const fs::path& model = pictures   ? request.model
                          : language ? request.language_model
                                     : request.video_model;
  request.model_name = shown_name(request.synthetic.value_or(model.string()));

  // The lists first: a slip in one of them is found before a model's folder is looked at.
  if (!options.sizes.empty()) request.sizes = sizes_of(options.sizes);
  if (!options.steps.empty()) request.steps = numbers_of("--steps", options.steps, 1000);
  if (!options.batch_sizes.empty())
    request.batch_sizes = numbers_of("--batch-size", options.batch_sizes, 4096);
  if (!request.batch_sizes.empty()) request.worker_batch_size = request.batch_sizes.front();
  request.kernel_batch_sizes =
      request.batch_sizes.empty() ? std::vector<int64_t>{1} : request.batch_sizes;
  request.language_batch_sizes =
      request.batch_sizes.empty() ? std::vector<int64_t>{1, 64} : request.batch_sizes;
  if (holds(request.suites, "video")) fill_video(request, options);
  const Defaults defaults = defaults_for(request);
  if (request.sizes.empty()) request.sizes = {defaults.size};
  if (request.steps.empty()) request.steps = defaults.steps;
  if (request.batch_sizes.empty())
    request.batch_sizes = only_language ? request.language_batch_sizes : defaults.batch_sizes;
  request.guidance_scale = options.guidance_scale.value_or(defaults.guidance_scale);
  if (!std::isfinite(request.guidance_scale))
    throw UsageError("--guidance-scale", "is not a number", "give one such as 5");
  return request;
}

Json describe(const BenchRequest& request) {
  Json sizes = Json::array();
  for (const auto& size : request.sizes) sizes.push_back(size_name(size));
  return {{"suites", request.suites},
          {"model", request.synthetic ? Json() : Json(request.model_name)},
          {"language_model", request.language_model.empty() ? Json() : Json(request.language_name)},
          {"video_model", request.video_model.empty() ? Json() : Json(request.video_name)},
          {"frames", request.frames},
          {"quantize", request.quantize},
          {"synthetic", request.synthetic ? Json(request.model_name) : Json()},
          {"device", request.device},
          {"dtype", request.dtypes},
          {"threads", request.threads},
          {"batch_size", request.batch_sizes},
          {"size", sizes},
          {"steps", request.steps},
          {"guidance_scale", request.guidance_scale},
          {"repeats", request.repeats > 0 ? Json(request.repeats) : Json()},
          {"warm_up", request.warm_up},
          {"filter", request.filters}};
}

BenchOutputs bench_outputs(const BenchOptions& options) {
  BenchOutputs outputs{.report = options.report, .trace = options.trace};
  if (const fs::path given = options.output; !given.empty()) {
    if (given.extension() == ".json" && !fs::is_directory(given)) {
      outputs.json = given;
    } else {
      if (fs::exists(given) && !fs::is_directory(given))
        throw UsageError("--output " + given.string(), "is a file, and no .json",
                         "name a folder, or a file that ends in .json");
      outputs.json = given / "bench.json";
      if (outputs.report.empty()) outputs.report = given / "report.html";
    }
  }
  for (const auto& file : {outputs.json, outputs.report, outputs.trace}) {
    if (file.empty()) continue;
    if (fs::is_directory(file)) throw UsageError(file.string(), "is a folder", "name a file");
    make_folders(fs::absolute(file).parent_path());
  }
  return outputs;
}

std::optional<Baseline> read_baseline(const BenchOptions& options) {
  if (options.threshold && !std::isfinite(*options.threshold))
    throw UsageError("--threshold", "is not a number", "give percent, such as 10");
  if (options.baseline.empty()) {
    if (options.threshold)
      throw UsageError("--threshold", "says nothing without a baseline", "give --baseline FILE");
    return std::nullopt;
  }
  fs::path file = options.baseline;
  if (fs::is_directory(file)) file /= "bench.json";
  if (!fs::exists(file))
    throw UsageError("--baseline " + file.string(), "no such file",
                     "write one with 'backlot bench -o DIR'");
  const Json json = Json::parse(read_file(file, max_result_bytes), nullptr, false);
  return Baseline{.results = bench_results(json, file.string()),
                  .source = file.filename().string(),
                  .threshold = options.threshold ? *options.threshold / 100 : usual_threshold};
}

}  // namespace backlot
