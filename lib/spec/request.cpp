#include "base/error.h"
#include "spec/scene_spans.h"
#include "spec/spec.h"

namespace backlot {
namespace {

// Reads a field of the parameters, if it is there, into a plain or an optional member.
template <class T>
void read(const Json& parameters, const char* name, T& into) {
  const auto found = parameters.find(name);
  if (found != parameters.end() && !found->is_null()) into = found->get<T>();
}

template <class T>
void read(const Json& parameters, const char* name, std::optional<T>& into) {
  const auto found = parameters.find(name);
  if (found != parameters.end() && !found->is_null()) into = found->get<T>();
}

[[noreturn]] void unreadable(const Item& item, const Json::exception& error) {
  throw ItemError(item.output, std::string("its parameters can't be read: ") + error.what(),
                  "plan the run again");
}

// What is rendered; throws if a language model is still to make it.
std::string rendered_prompt(const Item& item) {
  if (!item.text_id.empty() && !item.enhanced_prompt)
    throw ItemError(item.output, "its prompt has not been enhanced yet", "run its spec again");
  if (item.parameters.contains("scenes")) return "";  // which have their own
  return item.enhanced_prompt ? *item.enhanced_prompt
                              : item.parameters.at("prompt").get<std::string>();
}

VideoScene video_scene(const Json& parameters) {
  VideoScene scene;
  scene.prompt = parameters.at("prompt").get<std::string>();
  read(parameters, "negative_prompt", scene.negative_prompt);
  scene.seed = parameters.at("seed").get<uint64_t>();
  scene.frames = parameters.at("frames").get<int64_t>();
  read(parameters, "transition_frames", scene.transition_frames);
  return scene;
}

}  // namespace

bool by_video_model(const Item& item) { return item.parameters.contains("frames"); }

VideoRequest video_request(const Item& item) {
  const Json& p = item.parameters;
  VideoRequest request;
  try {
    request.prompt = rendered_prompt(item);
    read(p, "negative_prompt", request.negative_prompt);
    request.seed = p.at("seed").get<uint64_t>();
    read(p, "steps", request.steps);
    read(p, "guidance_scale", request.guidance_scale);
    read(p, "guidance_scale_2", request.guidance_scale_2);
    request.width = p.at("width").get<int64_t>();
    request.height = p.at("height").get<int64_t>();
    request.frames = p.at("frames").get<int64_t>();
    read(p, "max_sequence_length", request.max_sequence_length);
    if (p.contains("scheduler")) request.scheduler = p["scheduler"];
    read(p, "vae_tiling", request.vae_tiling);
    read(p, "step_cache", request.step_cache);
    if (p.contains("scenes"))
      for (const auto& scene : p["scenes"]) request.scenes.push_back(video_scene(scene));
  } catch (const Json::exception& error) {
    unreadable(item, error);
  }
  return request;
}

std::string prompt_of(const Json& parameters) {
  if (const auto spans = scene_spans(parameters); !spans.empty()) {
    std::string all = spans.front().prompt;
    for (size_t i = 1; i < spans.size(); ++i) all += " / " + spans[i].prompt;
    return all;
  }
  const auto messages = parameters.find("messages");
  return messages == parameters.end() ? parameters.at("prompt").get<std::string>()
                                      : messages->back().at("content").get<std::string>();
}

Json rendered_parameters(const Item& item) {
  Json out = item.parameters;
  if (!item.enhanced_prompt) return out;
  out["enhance"]["prompt"] = out["prompt"];
  out["prompt"] = *item.enhanced_prompt;
  return out;
}

ImageRequest image_request(const Item& item) {
  const Json& p = item.parameters;
  ImageRequest request;
  try {
    request.prompt = rendered_prompt(item);
    read(p, "prompt_2", request.prompt_2);
    read(p, "negative_prompt", request.negative_prompt);
    read(p, "negative_prompt_2", request.negative_prompt_2);
    request.seed = p.at("seed").get<uint64_t>();
    read(p, "steps", request.steps);
    read(p, "guidance_scale", request.guidance_scale);
    read(p, "guidance_rescale", request.guidance_rescale);
    request.width = p.at("width").get<int64_t>();
    request.height = p.at("height").get<int64_t>();
    read(p, "clip_skip", request.clip_skip);
    read(p, "original_size", request.original_size);
    read(p, "target_size", request.target_size);
    read(p, "negative_original_size", request.negative_original_size);
    read(p, "negative_target_size", request.negative_target_size);
    read(p, "crops_coords_top_left", request.crops_coords_top_left);
    read(p, "negative_crops_coords_top_left", request.negative_crops_coords_top_left);
    if (p.contains("scheduler")) request.scheduler = p["scheduler"];
    request.chunk_long_prompts = p.value("long_prompt", "truncate") == "chunk";
    read(p, "prompt_weighting", request.prompt_weighting);
    read(p, "vae_tiling", request.vae_tiling);
    read(p, "cache", request.cache);
  } catch (const Json::exception& error) {
    unreadable(item, error);
  }
  return request;
}

}  // namespace backlot
