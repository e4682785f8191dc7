#include "spec/schema.h"

#include <fmt/format.h>

#include <algorithm>

#include "spec/fields.h"
#include "spec/scenes.h"

namespace backlot {
namespace {

Json object_of(Json properties) {
  return {
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

Json type_of(const Field& field) {
  switch (field.kind) {
    case FieldKind::word:
      return {{"type", "string"}, {"pattern", "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$"}};
    case FieldKind::folder:
    case FieldKind::style:
      return {{"type", "string"}, {"minLength", 1}};
    case FieldKind::choice:
      return {{"enum", field.choices}};
    case FieldKind::boolean:
      return {{"type", "boolean"}};
    case FieldKind::number:
      return {{"type", "number"}, {"minimum", field.least}, {"maximum", field.most}};
    case FieldKind::seed:
      return {{"type", "integer"}, {"minimum", 0}, {"maximum", UINT64_MAX}};
    case FieldKind::size:
      return {{"type", "array"},
              {"items", {{"type", "integer"}, {"minimum", field.least}, {"maximum", field.most}}},
              {"minItems", 2},
              {"maxItems", 2}};
    case FieldKind::scheduler:
      return {{"anyOf",
               {{{"type", "string"}},
                {{"type", "object"},
                 {"required", {"_class_name"}},
                 {"properties", {{"_class_name", {{"type", "string"}}}}}}}}};
    case FieldKind::texts:
      return {{"anyOf",
               {{{"type", "string"}, {"minLength", 1}},
                {{"type", "array"}, {"items", {{"type", "string"}, {"minLength", 1}}}}}}};
    case FieldKind::chat:
      return {{"type", "array"},
              {"minItems", 1},
              {"items",
               {{"type", "object"},
                {"required", {"role", "content"}},
                {"properties",
                 {{"role", {{"enum", {"system", "user", "assistant"}}}},
                  {"content", {{"type", "string"}}}}},
                {"additionalProperties", false}}}};
    case FieldKind::scenes: {
      Json scene = Json::object();
      for (const auto key : scene_keys)
        scene[std::string(key)] = {{"$ref", "#/$defs/" + std::string(key)}};
      Json mapping = object_of(std::move(scene));
      mapping["required"] = {"prompt"};
      return {{"type", "array"},
              {"minItems", 1},
              {"maxItems", most_scenes},
              {"items", {{"anyOf", {{{"type", "string"}}, std::move(mapping)}}}}};
    }
    case FieldKind::integer: {
      Json type = {{"type", "integer"}, {"minimum", field.least}, {"maximum", field.most}};
      if (field.multiple > 1) type["multipleOf"] = field.multiple;
      return type;
    }
    case FieldKind::text:
      break;
  }
  return {{"type", "string"}};
}

// null takes a default back, so every field may be null.
Json schema_of(const Field& field) {
  Json out = {{"description", field.help},
              {"anyOf", Json::array({type_of(field), {{"type", "null"}}})}};
  if (!field.default_json.empty()) out["default"] = Json::parse(field.default_json);
  return out;
}

Json size_schema() {
  return {{"anyOf",
           {{{"type", "integer"}, {"minimum", 1}},
            {{"type", "string"}, {"pattern", "^[0-9.]+ ?([kK]B|[MGT]B|[KMGT]iB|B)?$"}}}}};
}

Json formats() {
  Json out = Json::array();
  for (const Task task : {Task::text_to_image, Task::text_to_video, Task::enhance})
    for (const auto format : output_formats(task))
      if (std::ranges::find(out, format) == out.end()) out.push_back(format);
  return out;
}

Json output_schema() {
  return object_of(
      {{"dir", {{"type", "string"}, {"minLength", 1}, {"default", "out"}}},
       {"format", {{"enum", formats()}}},
       {"name", {{"type", "string"}, {"default", "{index:05}-{slug}-{seed}"}}},
       {"max_bytes", size_schema()},
       {"quality", {{"type", "integer"}, {"minimum", 1}, {"maximum", 100}, {"default", 90}}},
       {"metadata", {{"type", "boolean"}, {"default", true}}},
       {"quota", size_schema()},
       {"codec",
        {{"enum",
          {"h264", "h265", "av1", "vp9", "ffv1", "h264_nvenc", "h265_nvenc", "av1_nvenc"}}}},
       {"bit_depth", {{"enum", {8, 10}}, {"default", 8}}},
       {"crf", {{"type", "integer"}, {"minimum", 0}, {"maximum", 63}}}});
}

Json enhance_schema() {
  Json properties = {{"model", {{"type", "string"}, {"minLength", 1}}},
                     {"variants", {{"type", "integer"}, {"minimum", 1}, {"maximum", 1000}}}};
  for (const char* name : {"style", "seed", "max_tokens", "temperature", "top_k", "top_p", "min_p",
                           "repetition_penalty", "retries", "stop"})
    properties[name] = {{"$ref", std::string("#/$defs/") + name}};
  return object_of(std::move(properties));
}

std::string default_of(const Field& field) {
  if (!field.default_json.empty()) return fmt::format("`{}`", field.default_json);
  return std::string(field.absent);
}

}  // namespace

Json spec_schema() {
  Json fields = Json::object(), defaults = Json::object(), axes = Json::object();
  for (const auto& field : job_fields()) {
    const std::string name(field.name);
    const Json reference = {{"$ref", "#/$defs/" + name}};
    fields[name] = schema_of(field);
    defaults[name] = reference;
    if (can_vary(field)) axes[name] = {{"type", "array"}, {"items", reference}, {"minItems", 1}};
  }
  Json job = {{"id", {{"type", "string"}, {"minLength", 1}, {"maxLength", 1000}}},
              {"prompts_from", {{"type", "string"}, {"pattern", "\\.(txt|csv|jsonl)$"}}},
              {"matrix", object_of(axes)},
              {"expand", {{"enum", {"product", "zip"}}, {"default", "product"}}},
              {"enhance", {{"anyOf", {enhance_schema(), {{"enum", {nullptr, false}}}}}}}};
  job.update(defaults);
  Json spec = object_of({{"version", {{"const", 1}}},
                         {"name", {{"type", "string"}, {"pattern", "^[^./\\\\][^/\\\\]*$"}}},
                         {"task", {{"enum", {"text-to-image", "text-to-video", "enhance"}}}},
                         {"model", {{"type", "string"}, {"minLength", 1}}},
                         {"preset", {{"type", "string"}}},
                         {"defaults", object_of(defaults)},
                         {"jobs", {{"type", "array"}, {"items", object_of(job)}, {"minItems", 1}}},
                         {"output", output_schema()},
                         {"enhance", enhance_schema()}});
  Json out = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
              {"title", "backlot job spec"}};
  out.update(spec);
  out["required"] = {"model", "jobs"};
  out["$defs"] = std::move(fields);
  return out;
}

std::string field_table() {
  std::string out = "| field | what it is | values | default |\n|---|---|---|---|\n";
  for (const auto& field : job_fields())
    out += fmt::format("| `{}` | {}{} | {}{} | {} |\n", field.name,
                       field.applies_to(Task::text_to_image)   ? ""
                       : field.applies_to(Task::text_to_video) ? "videos: "
                                                               : "texts: ",
                       field.help, describe_kind(field),
                       field.alternatives ? ", with alternatives" : "", default_of(field));
  return out;
}

}  // namespace backlot
