#include "spec/planned_texts.h"

#include "base/error.h"
#include "base/files.h"
#include "spec/resolve.h"

namespace backlot {
namespace {

// Of chats, for which no style says anything: the likeliest token, always.
const TextSampling chat_sampling{.max_tokens = 512, .temperature = 0, .top_p = 1};

Json sampling_json(const TextSampling& sampling) {
  Json out = {
      {"max_tokens", sampling.max_tokens}, {"temperature", sampling.temperature},
      {"top_k", sampling.top_k},           {"top_p", sampling.top_p},
      {"min_p", sampling.min_p},           {"repetition_penalty", sampling.repetition_penalty}};
  if (!sampling.stop.empty()) out["stop"] = sampling.stop;
  return out;
}

std::string name_of(const fs::path& path) {
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

}  // namespace

std::string text_id_of(const Json& parameters) {
  const auto found = parameters.find("enhance");
  if (found == parameters.end()) return "";
  Json of_text = {{"prompt", parameters.at("prompt")}};
  of_text.update(*found);
  of_text.erase("model");
  return item_id(Task::enhance, of_text,
                 found->at("model").at("fingerprint").get_ref<const std::string&>());
}

const PlannedTexts::Model& PlannedTexts::model(const EnhanceStage& stage) {
  const auto found = models_.find(stage.model);
  if (found != models_.end()) return found->second;
  if (!context_.language_model)
    document_.sources.fail(stage.mark, "the enhance stage is not available here",
                           "remove it, or use a version of backlot that has it");
  const fs::path path = find_model(document_, stage.model, stage.model_mark);
  return models_.emplace(stage.model, Model{path, context_.language_model(path)}).first->second;
}

std::shared_ptr<const Style> PlannedTexts::style(const EnhanceStage& stage) {
  auto& style = styles_[stage.style];
  if (!style) {
    Sources sources = document_.sources;  // a style's file is one more
    style = std::make_shared<const Style>(
        load_style(stage.style, stage.style_mark, document_.folder, sources));
  }
  return style;
}

PlannedText PlannedTexts::describe(const EnhanceStage& stage, const Json& what) {
  const Model& from = model(stage);
  PlannedText text;
  text.prompt = prompt_of(what);
  text.model = from.path;
  text.model_fingerprint = from.fingerprint;
  text.seed = stage.seed;
  if (what.contains("messages")) {
    text.messages = what.at("messages");
    text.sampling = chat_sampling;
  } else {
    text.style = style(stage);
    text.sampling = text.style->sampling;
    text.retries = text.style->retries;
  }
  for (const auto& value : stage.fields) {
    if (value.value.is_null()) continue;  // the style's
    if (value.field->name == "retries")
      text.retries = value.value;
    else
      set_sampling(text.sampling, value.field->name, value.value);
  }
  if (stage.variants > 1 && text.sampling.temperature == 0)
    document_.sources.fail(stage.mark, "with a temperature of 0 all variants are the same",
                           document_.task == Task::enhance
                               ? "give a temperature above 0, or count: 1"
                               : "give a temperature above 0, or variants: 1");
  return text;
}

Json PlannedTexts::parameters(const PlannedText& text) {
  Json out = Json::object();
  if (text.messages.is_null())
    out = {{"prompt", text.prompt},
           {"style", {{"path", text.style->name}, {"sha256", text.style->sha256}}}};
  else
    out["messages"] = text.messages;
  out["seed"] = text.seed;
  out.update(sampling_json(text.sampling));
  if (text.messages.is_null()) out["retries"] = text.retries;
  return out;
}

void PlannedTexts::keep(PlannedText text) {
  if (ids_.insert(text.id).second) texts_.push_back(std::move(text));
}

void PlannedTexts::add(const EnhanceStage& stage, int64_t variant, Item& item) {
  PlannedText text = describe(stage, item.parameters);
  text.seed += static_cast<uint64_t>(variant);
  Json how = parameters(text);
  how.erase("prompt");
  item.parameters["enhance"] = {
      {"model", {{"path", name_of(text.model)}, {"fingerprint", text.model_fingerprint}}}};
  item.parameters["enhance"].update(how);
  item.text_id = text.id = text_id_of(item.parameters);
  keep(std::move(text));
}

void PlannedTexts::add_item(PlannedText text, Item& item) {
  item.model = text.model;
  item.model_fingerprint = text.model_fingerprint;
  item.parameters = parameters(text);
  item.id = item.text_id = text.id =
      item_id(Task::enhance, item.parameters, text.model_fingerprint);
  keep(std::move(text));
}

}  // namespace backlot
