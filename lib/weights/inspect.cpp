#include "weights/inspect.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "weights/checkpoint.h"
#include "weights/json_file.h"
#include "weights/language_folder.h"
#include "weights/model_folder.h"

namespace backlot {
namespace {

void count_tensors(const Checkpoint& checkpoint, ComponentSummary& component) {
  for (const auto& [name, view] : checkpoint.tensors()) {
    ++component.tensors;
    component.parameters += view.elements();
    component.bytes += view.bytes.size();
    component.dtypes[std::string(dtype_name(view.dtype))] += view.elements();
  }
}

// Runs `check`, noting what it throws.
template <class Check>
void note_problems(ModelSummary& summary, const Check& check) {
  try {
    check();
  } catch (const Error& error) {
    summary.problems.emplace_back(error.what());
  }
}

// The variant to look at: the one asked for, else the plain one, else the only kind there is.
std::optional<std::string> choose_variant(const std::optional<std::string>& asked,
                                          const std::vector<std::string>& present) {
  if (asked || present.empty() || present.front().empty()) return asked;
  return present.front();
}

ModelSummary inspect_pipeline(const ModelFolder& model, const std::optional<std::string>& variant) {
  ModelSummary summary{.path = model.path(),
                       .kind = model.single_file() ? "SDXL checkpoint file" : "diffusers folder",
                       .pipeline_class = model.pipeline_class(),
                       .variant = variant,
                       .licence = model.licence()};
  for (const auto& name : model.components()) {
    if (name.starts_with("tokenizer")) {
      note_problems(summary, [&] { model.tokenizer_folder(name); });
      continue;
    }
    note_problems(summary, [&] { model.config(name); });
    if (name == "scheduler") continue;
    ComponentSummary component{.name = name,
                               .class_name = model.index()[name][1].get<std::string>()};
    note_problems(summary, [&] {
      if (!model.single_file())
        component.variants = Checkpoint::variants(model.component_path(name), model.stem(name));
      const auto chosen = choose_variant(variant, component.variants);
      count_tensors(model.checkpoint(name, chosen), component);
      if (chosen) summary.variant = chosen;
    });
    summary.components.push_back(std::move(component));
  }
  return summary;
}

bool is_transformers_folder(const fs::path& path) {
  return fs::is_directory(path) && fs::exists(path / "config.json") &&
         !fs::exists(path / "model_index.json") &&
         read_json_file(path / "config.json").contains("model_type");
}

ModelSummary inspect_transformers(const fs::path& path, const std::optional<std::string>& variant) {
  const Json config = read_json_file(path / "config.json");
  ModelSummary summary{.path = path, .kind = "transformers folder", .variant = variant};
  if (const auto found = config.find("architectures");
      found != config.end() && found->is_array() && !found->empty() && found->front().is_string())
    summary.pipeline_class = found->front().get<std::string>();
  summary.licence = licence_file(path);
  ComponentSummary component{.name = "model", .class_name = summary.pipeline_class};
  note_problems(summary, [&] {
    component.variants = Checkpoint::variants(path, "model");
    summary.variant = choose_variant(variant, component.variants);
    count_tensors(Checkpoint::open(path, "model", summary.variant), component);
  });
  summary.components.push_back(std::move(component));
  if (is_language_model(path))
    note_problems(summary, [&] { summary.language = LanguageFolder::open(path).config(); });
  return summary;
}

ModelSummary inspect_gguf(const fs::path& path) {
  const auto model = LanguageFolder::open(path);
  ModelSummary summary{.path = path, .kind = "GGUF"};
  summary.pipeline_class = model.config().architecture;
  summary.language = model.config();
  summary.licence = model.licence();
  ComponentSummary component{.name = "model", .class_name = summary.pipeline_class};
  for (const auto& [name, tensor] : model.tensors()) {
    const int64_t elements = tensor.rows() * tensor.columns();
    ++component.tensors;
    component.parameters += elements;
    component.bytes += tensor.bytes.size();
    component.dtypes[std::string(block_type_name(tensor.type))] += elements;
  }
  component.variants = {""};
  summary.components.push_back(std::move(component));
  return summary;
}

// A folder with safetensors as well is a transformers folder.
bool is_gguf_model(const fs::path& path) {
  return is_language_model(path) &&
         (!fs::is_directory(path) || Checkpoint::variants(path, "model").empty());
}

Json language_json(const DecoderConfig& config) {
  return {{"architecture", config.architecture},
          {"vocabulary", config.vocab_size},
          {"context", config.max_position_embeddings},
          {"layers", config.num_hidden_layers},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"attention_heads", config.num_attention_heads},
          {"key_value_heads", config.num_key_value_heads},
          {"head_dim", config.head_dim},
          {"tied_embeddings", config.tie_word_embeddings},
          {"key_value_bytes_per_token",
           {{"float32", key_value_bytes(config, 4)}, {"bfloat16", key_value_bytes(config, 2)}}}};
}

}  // namespace

int64_t key_value_bytes(const DecoderConfig& config, int64_t number_bytes) {
  return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * number_bytes;
}

int64_t ModelSummary::parameters() const {
  int64_t sum = 0;
  for (const auto& component : components) sum += component.parameters;
  return sum;
}

uint64_t ModelSummary::bytes() const {
  uint64_t sum = 0;
  for (const auto& component : components) sum += component.bytes;
  return sum;
}

ModelSummary inspect_model(const fs::path& path, const std::optional<std::string>& variant) {
  if (is_gguf_model(path)) return inspect_gguf(path);
  if (is_transformers_folder(path)) return inspect_transformers(path, variant);
  return inspect_pipeline(ModelFolder::open(path), variant);
}

std::vector<fs::path> find_models(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& path = entry->path();
    std::error_code ignored;
    if (fs::is_directory(path, ignored)
            ? fs::exists(path / "model_index.json", ignored) ||
                  (fs::exists(path / "config.json", ignored) &&
                   !Checkpoint::variants(path, "model").empty()) ||
                  is_language_model(path)
            : path.extension() == ".safetensors" || path.extension() == ".gguf")
      found.push_back(path);
  }
  std::ranges::sort(found);
  return found;
}

Json to_json(const ModelSummary& summary) {
  Json components = Json::array();
  for (const auto& component : summary.components)
    components.push_back({{"name", component.name},
                          {"class", component.class_name},
                          {"tensors", component.tensors},
                          {"parameters", component.parameters},
                          {"bytes", component.bytes},
                          {"dtypes", component.dtypes},
                          {"variants", component.variants}});
  Json json = {{"path", summary.path.string()},
               {"kind", summary.kind},
               {"pipeline_class", summary.pipeline_class},
               {"variant", summary.variant ? Json(*summary.variant) : Json()},
               {"parameters", summary.parameters()},
               {"bytes", summary.bytes()},
               {"memory",
                {{"float32", summary.parameters() * 4},
                 {"bfloat16", summary.parameters() * 2},
                 {"float16", summary.parameters() * 2}}},
               {"licence", summary.licence ? Json(*summary.licence) : Json()},
               {"components", std::move(components)},
               {"problems", summary.problems}};
  json["memory"]["as_stored"] = summary.bytes();
  if (summary.language) json["language"] = language_json(*summary.language);
  return json;
}

}  // namespace backlot
