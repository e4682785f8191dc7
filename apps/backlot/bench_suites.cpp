// Which suites can measure what was asked for, and the models that they take.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/install.h"
#include "base/text.h"
#include "bench.h"
#include "engine/probe.h"
#include "engine/video.h"
#include "model_store.h"
#include "weights/language_configs.h"
#include "weights/language_folder.h"
#include "weights/model_folder.h"

namespace backlot {
namespace {

constexpr std::array<std::string_view, 6> suite_names = {"image", "video",   "language",
                                                         "load",  "kernels", "fleet"};

bool is_video_folder(const fs::path& path) {
  return fs::exists(path / "model_index.json") &&
         ModelFolder::open(path).pipeline_class() == "WanPipeline";
}

// The name of one, or a folder of a pipeline.
bool is_architecture(const std::string& name) {
  const auto known = synthetic_architectures();
  return std::ranges::find(known, name) != known.end() || synthetic_pipeline(name);
}

// A name, or the folder of a language model, of which only its config is read.
bool is_synthetic_language(const std::string& name) {
  if (published_decoder_config(name)) return true;
  return !synthetic_pipeline(name) && fs::exists(fs::path(name) / "config.json");
}

// A name, or the folder of a video model.
bool is_synthetic_video(const std::string& name) {
  const auto known = synthetic_architectures();
  if (std::ranges::find(known, name) != known.end()) return synthetic_video_pipeline(name);
  return is_video_folder(name);
}

// What was named, by the kind of work that it does.
enum class Kind { unnamed, pictures, clips, texts, kernels };

Kind kind_of(const BenchOptions& options) {
  if (const std::string& name = options.synthetic; !name.empty()) {
    if (is_synthetic_language(name)) return Kind::texts;
    if (is_synthetic_video(name)) return Kind::clips;
    return synthetic_pipeline(name) ? Kind::pictures : Kind::kernels;
  }
  if (options.model.empty()) return Kind::unnamed;
  const fs::path model = find_model(options.model);
  if (is_language_model(model)) return Kind::texts;
  return is_video_folder(model) ? Kind::clips : Kind::pictures;
}

// Of what has random weights: whether there is a list of kernels for it.
bool has_kernel_list(const std::string& name, Kind kind) {
  const auto known = synthetic_architectures();
  return std::ranges::find(known, name) != known.end() || kind == Kind::pictures;
}

// Why a suite cannot measure what is asked for, and what to do instead; nothing if it can.
std::optional<UsageError> unable(const std::string& suite, const BenchOptions& options) {
  const Kind kind = kind_of(options);
  const std::string& synthetic = options.synthetic;
  const std::string named =
      synthetic.empty() ? "--model " + options.model : "--synthetic " + synthetic;
  if (kind == Kind::unnamed) return std::nullopt;
  if (suite == "language") {
    if (kind == Kind::texts) return std::nullopt;
    return UsageError(named, "is no language model, which suite language measures",
                      "give one, or another suite");
  }
  if (suite == "video") {
    if (kind == Kind::clips) return std::nullopt;
    return UsageError(named, "is no video model, which suite video measures",
                      "give one, or another suite");
  }
  if (suite == "kernels" && !synthetic.empty()) {
    if (has_kernel_list(synthetic, kind)) return std::nullopt;
    return UsageError(
        named, "has no list of kernels",
        kind == Kind::clips
            ? fmt::format("measure its clips: 'backlot bench video --synthetic {}'", synthetic)
            : fmt::format("measure its passes: 'backlot bench language --synthetic {}'",
                          synthetic));
  }
  if (synthetic.empty()) {
    if (kind == Kind::pictures) return std::nullopt;
    const bool clips = kind == Kind::clips;
    return UsageError(
        named,
        fmt::format("is a {} model, which suite {} cannot measure", clips ? "video" : "language",
                    suite),
        fmt::format("measure it with 'backlot bench {}'", clips ? "video" : "language"));
  }
  if (suite == "load" || suite == "fleet")
    return UsageError("--synthetic",
                      fmt::format("weights made in memory have no files for suite {}", suite),
                      "give --model DIR instead");
  if (kind == Kind::pictures) return std::nullopt;
  return UsageError(
      named, "makes no pictures, so suite image cannot run",
      kind == Kind::clips
          ? fmt::format("measure its clips: 'backlot bench video --synthetic {}'", synthetic)
      : kind == Kind::texts
          ? fmt::format("measure its passes: 'backlot bench language --synthetic {}'", synthetic)
          : fmt::format("measure its kernels: 'backlot bench kernels --synthetic {}'", synthetic));
}

}  // namespace

std::span<const std::string_view> bench_suites() { return suite_names; }

std::vector<std::string> known_architectures() {
  auto known = synthetic_architectures();
  for (auto& name : published_language_models())
    if (std::ranges::find(known, name) == known.end()) known.push_back(std::move(name));
  return known;
}

std::string synthetic_of(const std::string& name) {
  const auto known = known_architectures();
  if (is_architecture(name) || is_synthetic_language(name)) return name;
  const std::vector<std::string_view> views(known.begin(), known.end());
  const std::string meant = nearest(name, views);
  throw UsageError("--synthetic " + name, "no such architecture",
                   meant.empty() ? fmt::format("give one of {}", fmt::join(known, ", "))
                                 : fmt::format("did you mean {}?", meant));
}

std::vector<std::string> suites_of(const BenchOptions& options) {
  for (const auto& suite : options.suites)
    if (std::ranges::find(suite_names, suite) == suite_names.end()) {
      const std::string meant = nearest(suite, suite_names);
      throw UsageError(suite, "no such suite",
                       meant.empty() ? "give image, video, language, load, kernels or fleet"
                                     : fmt::format("did you mean {}?", meant));
    }
  std::vector<std::string> suites;
  for (const auto& name : suite_names) {
    const std::string suite(name);
    const bool asked = std::ranges::find(options.suites, suite) != options.suites.end();
    if (!asked && !options.suites.empty()) continue;
    const auto why_not = unable(suite, options);
    if (asked && why_not) throw *why_not;
    if (why_not) continue;
    // Without `make setup` there is no bundled language model, and the other suites need none.
    const bool bundled = options.model.empty() && options.synthetic.empty() && !asked;
    if (bundled && suite == "language" && !shipped_file("models/smollm2")) continue;
    if (bundled && suite == "video" && !shipped_file("models/pocket-wan")) continue;
    suites.push_back(suite);
  }
  return suites;
}

// A model as it stands in the names of cases.
std::string shown_name(fs::path model) {
  if (model.filename().empty()) model = model.parent_path();
  return model.extension() == ".safetensors" || model.extension() == ".gguf"
             ? model.stem().string()
             : model.filename().string();
}

// Of the suites that make pictures.
fs::path model_of(const BenchOptions& options) {
  if (!options.model.empty()) return find_model(options.model);
  if (const auto shipped = shipped_file("models/pocket-xl")) return *shipped;
  throw LoadError("models/pocket-xl", "the bundled model is not in this installation",
                  "give --model DIR, or --synthetic NAME");
}

fs::path language_model_of(const BenchOptions& options) {
  if (!options.model.empty()) return find_model(options.model);
  if (const auto shipped = shipped_file("models/smollm2")) return *shipped;
  throw LoadError("models/smollm2", "the bundled language model is not in this installation",
                  "run 'make setup', which fetches it, or give --model or --synthetic");
}

fs::path video_model_of(const BenchOptions& options) {
  if (!options.model.empty()) return find_model(options.model);
  if (const auto shipped = shipped_file("models/pocket-wan")) return *shipped;
  throw LoadError("models/pocket-wan", "the bundled video model is not in this installation",
                  "give --model DIR, or --synthetic NAME");
}

}  // namespace backlot
