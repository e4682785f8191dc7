#include "spec/item_json.h"

namespace backlot {

Json to_json(const Item& item) {
  return {{"id", item.id},
          {"index", item.index},
          {"job", item.job},
          {"model", item.model.string()},
          {"fingerprint", item.model_fingerprint},
          {"vae", item.vae ? Json(item.vae->string()) : Json()},
          {"parameters", item.parameters},
          {"output", item.output},
          {"text", item.text_id.empty() ? Json() : Json(item.text_id)},
          {"enhanced_prompt", item.enhanced_prompt ? Json(*item.enhanced_prompt) : Json()}};
}

Item item_from_json(const Json& json) {
  Item item{.id = json.at("id"),
            .index = json.at("index"),
            .job = json.at("job"),
            .model = json.at("model").get<std::string>(),
            .model_fingerprint = json.at("fingerprint"),
            .parameters = json.at("parameters"),
            .output = json.at("output")};
  if (const Json& vae = json.at("vae"); !vae.is_null()) item.vae = vae.get<std::string>();
  if (const Json text = json.value("text", Json()); !text.is_null()) item.text_id = text;
  if (const Json text = json.value("enhanced_prompt", Json()); !text.is_null())
    item.enhanced_prompt = text.get<std::string>();
  return item;
}

Json to_json(const OutputSettings& settings) {
  return {{"format", settings.format},
          {"name", settings.name},
          {"max_bytes", settings.max_bytes ? Json(*settings.max_bytes) : Json()},
          {"quality", settings.quality},
          {"codec", settings.codec},
          {"crf", settings.crf ? Json(*settings.crf) : Json()},
          {"bit_depth", settings.bit_depth},
          {"metadata", settings.metadata},
          {"quota", settings.quota ? Json(*settings.quota) : Json()},
          {"min_free", settings.min_free ? Json(*settings.min_free) : Json()}};
}

OutputSettings output_settings_from_json(const Json& json) {
  OutputSettings settings{.format = json.at("format"),
                          .name = json.at("name"),
                          .quality = json.at("quality"),
                          .codec = json.at("codec"),
                          .bit_depth = json.at("bit_depth"),
                          .metadata = json.at("metadata")};
  if (const Json& crf = json.at("crf"); !crf.is_null()) settings.crf = crf.get<int>();
  if (const Json& most = json.at("max_bytes"); !most.is_null())
    settings.max_bytes = most.get<uint64_t>();
  if (const Json& quota = json.at("quota"); !quota.is_null())
    settings.quota = quota.get<uint64_t>();
  if (const Json& free = json.at("min_free"); !free.is_null())
    settings.min_free = free.get<uint64_t>();
  return settings;
}

}  // namespace backlot
