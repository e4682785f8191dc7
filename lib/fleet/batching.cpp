#include "fleet/batching.h"

#include <map>

#include "base/json.h"
#include "spec/scene_spans.h"

namespace backlot {
namespace {

Json pick(const Json& parameters, std::initializer_list<const char*> names) {
  Json out = Json::object();
  for (const char* name : names) out[name] = parameters.contains(name) ? parameters[name] : Json();
  return out;
}

}  // namespace

std::string pipeline_key(const Item& item) {
  Json key = pick(item.parameters, {"variant", "vae"});
  key["model"] = item.model.string();
  return canonical_json(key);
}

std::string batch_key(const Item& item) {
  Json key = pick(item.parameters, {"width", "height", "frames", "steps", "scheduler", "vae_tiling",
                                    "cache", "step_cache"});
  for (const auto& scene : scene_spans(item.parameters))
    key["scenes"].push_back({scene.frames, scene.shared_before});
  key["guidance"] = item.parameters.value("guidance_scale", 0.0) > 1;
  return pipeline_key(item) + canonical_json(key);
}

std::vector<PipelineGroup> group_items(const std::vector<const Item*>& items) {
  std::vector<PipelineGroup> groups;
  std::map<std::string, size_t> pipelines;
  std::map<std::string, std::pair<size_t, size_t>> batches;
  for (const Item* item : items) {
    const auto [pipeline, new_pipeline] = pipelines.try_emplace(pipeline_key(*item), groups.size());
    if (new_pipeline) groups.emplace_back();
    auto& group = groups[pipeline->second];
    const auto [batch, new_batch] =
        batches.try_emplace(batch_key(*item), std::pair(pipeline->second, group.batches.size()));
    if (new_batch) group.batches.emplace_back();
    group.batches[batch->second.second].items.push_back(item);
  }
  return groups;
}

}  // namespace backlot
