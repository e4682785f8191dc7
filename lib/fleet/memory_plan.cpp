#include "fleet/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "fleet/batching.h"
#include "spec/scene_spans.h"
#include "spec/spec.h"

namespace backlot {
namespace {

constexpr uint64_t MiB = uint64_t{1} << 20;

// LibTorch and the engine before a model is loaded, measured; a GPU's context besides.
constexpr uint64_t process_bytes = 145 * MiB, context_bytes = 600 * MiB;

// What is left to others, and to what no plan foresees.
constexpr uint64_t most_left_free = 512 * MiB;

// Batches grow no faster than estimates and measurements can be relied on.
constexpr double margin_if_measured = 0.1, margin_if_estimated = 0.25;

constexpr int64_t most_on_cpu = 4, most_on_gpu = 16;

bool is_gpu(std::string_view device) { return device.starts_with("cuda"); }

uint64_t minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

uint64_t scaled(uint64_t bytes, double by) {
  return static_cast<uint64_t>(static_cast<double>(bytes) * by);
}

// Peak with its margin.
uint64_t with_margin(const NeededMemory& need) {
  return need.peak() +
         scaled(need.working, need.measured ? margin_if_measured : margin_if_estimated);
}

Precision precision_of(std::string_view dtype) {
  return dtype == "bfloat16"  ? Precision::bfloat16
         : dtype == "float16" ? Precision::float16
                              : Precision::float32;
}

std::string dtype_for(Precision precision, const DeviceMemory& device) {
  switch (precision) {
    case Precision::float32:
      return "float32";
    case Precision::bfloat16:
      return "bfloat16";
    case Precision::float16:
      return "float16";
    case Precision::automatic:
      break;
  }
  return device.fast_bfloat16 ? "bfloat16" : "float32";
}

LoadedAs loaded_as(const Manner& manner, const DeviceMemory& device, Quantization quantization) {
  return {.dtype = manner.dtype,
          .quantization = quantization,
          .on_gpu = is_gpu(device.name),
          .own_kernels = device.own_kernels};
}

// Measured working memory over the estimate of it, between the batch sizes that were measured:
// estimates know how working memory grows with the batch, measurements how much it is.
double ratio_at(const std::map<int64_t, double>& ratios, int64_t together) {
  const auto above = ratios.lower_bound(together);
  if (above == ratios.end()) return ratios.rbegin()->second;
  if (above == ratios.begin() || above->first == together) return above->second;
  const auto below = std::prev(above);
  const double way = static_cast<double>(together - below->first) /
                     static_cast<double>(above->first - below->first);
  return below->second + way * (above->second - below->second);
}

// Scenes are made one after the other: the longest decides.
ClipShape clip_shape(const Item& item, const Manner& manner) {
  const auto request = image_request(item);
  ClipShape shape;
  shape.width = request.width;
  shape.height = request.height;
  shape.frames = item.parameters.value("frames", int64_t{1});
  shape.text_tokens = item.parameters.value("max_sequence_length", int64_t{512});
  shape.guidance = request.guidance_scale > 1;
  shape.tiled = manner.tiled;
  shape.step_cache = item.parameters.value("step_cache", 0.0) > 0;
  const auto scenes = scene_spans(item.parameters);
  if (scenes.empty()) return shape;
  shape.scenes = std::ssize(scenes);
  shape.frames = 0;
  for (const auto& scene : scenes) {
    shape.frames = std::max(shape.frames, scene.frames);
    shape.frames_of_all += scene.frames;
    shape.shared = std::max(shape.shared, scene.shared_before);
  }
  return shape;
}

}  // namespace

DeviceMemory device_memory(const std::vector<Device>& devices, std::string_view name,
                           int64_t workers) {
  const std::string wanted = name == "cuda" ? "cuda:0" : std::string(name);
  DeviceMemory memory;
  memory.name = wanted;
  memory.workers = workers;
  for (const auto& device : devices) {
    if (device.name != wanted) continue;
    memory.kind = device.model;
    memory.total = device.memory_bytes;
    memory.free = device.free_bytes;
  }
  if (is_gpu(wanted)) {
    memory.fast_bfloat16 = true;
  } else {
    const std::string features = cpu_features();
    memory.fast_bfloat16 = features.find("avx512_bf16") != std::string::npos;
    // With tiles (AMX) oneDNN's layers serve.
    memory.own_kernels = memory.fast_bfloat16 && features.find("amx_bf16") == std::string::npos;
  }
  return memory;
}

DeviceMemory device_memory(std::string_view name, int64_t workers) {
  return device_memory(list_devices(), name, workers);
}

uint64_t allowance(const DeviceMemory& device) {
  if (device.total == 0) return device.limit.value_or(unknown_allowance);
  const uint64_t left = std::min(device.total / 20, most_left_free);
  const auto workers = static_cast<uint64_t>(std::max<int64_t>(device.workers, 1));
  const uint64_t share = device.held + minus(device.free, left) / workers;
  return device.limit ? std::min(*device.limit, device.held + minus(device.free, left)) : share;
}

int64_t usual_batch(std::string_view device) { return is_gpu(device) ? most_on_gpu : most_on_cpu; }

uint64_t measurable_peak(std::string_view device, const NeededMemory& need) {
  return minus(need.peak(), is_gpu(device) ? context_bytes : 0);
}

ModelSizes read_model_sizes(const Item& item) {
  const Json variant = item.parameters.value("variant", Json());
  return model_sizes(ModelFolder::open(item.model),
                     variant.is_string() ? std::optional(variant.get<std::string>()) : std::nullopt,
                     item.vae);
}

MemoryPlanner::MemoryPlanner(MemoryWish wish, MemoryStore store, ReadSizes read_sizes)
    : wish_(wish), store_(std::move(store)), read_sizes_(std::move(read_sizes)) {}

const ModelSizes& MemoryPlanner::sizes(const Item& item) {
  const std::string model = pipeline_key(item);
  const auto known = sizes_.find(model);
  return known != sizes_.end() ? known->second
                               : sizes_.emplace(model, read_sizes_(item)).first->second;
}

MemoryKey MemoryPlanner::key(const Item& item, const DeviceMemory& device,
                             const Manner& manner) const {
  const auto request = image_request(item);
  MemoryKey key;
  key.model = item.model_fingerprint;
  const Json vae = item.parameters.value("vae", Json());
  if (vae.is_object()) key.model += "+" + vae.value("sha256", std::string("vae"));
  key.device = device.kind;
  key.dtype = manner.dtype;
  key.quantization = quantization_name(wish_.quantization);
  key.width = request.width;
  key.height = request.height;
  key.guidance = request.guidance_scale > 1;
  key.text_encoders_out = manner.text_encoders_out;
  key.tiled = manner.tiled;
  if (by_video_model(item)) key.frames = clip_shape(item, manner).frames;
  key.text_encoder_on_host = manner.text_encoder_on_host;
  key.step_cache = item.parameters.value("step_cache", 0.0) > 0;
  return key;
}

NeededMemory MemoryPlanner::estimate(const Item& item, const DeviceMemory& device,
                                     const Manner& manner, int64_t together) {
  const auto request = image_request(item);
  const auto as = loaded_as(manner, device, wish_.quantization);
  const auto weights = weight_bytes(sizes(item), as);
  NeededMemory need;
  need.fixed = is_gpu(device.name) ? context_bytes : process_bytes;
  need.networks = weights.networks;
  if (!manner.text_encoders_out) need.text_encoders = weights.text_encoders;
  if (const auto& video = sizes(item).video) {
    need.working = clip_bytes(*video, as, clip_shape(item, manner));
    return need;
  }
  need.working = working_bytes(sizes(item), as,
                               {.width = request.width,
                                .height = request.height,
                                .guidance = request.guidance_scale > 1,
                                .tiled = manner.tiled},
                               together);
  return need;
}

NeededMemory MemoryPlanner::need(const Item& item, const DeviceMemory& device, const Manner& manner,
                                 int64_t together) {
  NeededMemory need = estimate(item, device, manner, together);
  const auto weights = weight_bytes(sizes(item), loaded_as(manner, device, wish_.quantization));
  if (const auto known = store_.find(key(item, device, manner)); known && !known->peaks.empty()) {
    std::map<int64_t, double> ratios;
    for (const auto& [batch, peak] : known->peaks) {
      const uint64_t estimated = estimate(item, device, manner, batch).working;
      ratios[batch] = static_cast<double>(minus(peak, known->loaded)) /
                      static_cast<double>(std::max<uint64_t>(estimated, 1));
    }
    const uint64_t before = std::min(known->before, known->loaded);
    need.fixed = before + (is_gpu(device.name) ? context_bytes : 0);
    need.networks = minus(known->loaded - before, need.text_encoders);
    need.working = scaled(need.working, ratio_at(ratios, together));
    need.measured = true;
  }
  // Their weights come and go while nothing else is at work.
  if (manner.text_encoders_out && !manner.text_encoder_on_host)
    need.working = std::max(need.working, weights.largest_text_encoder);
  return need;
}

// Looks for the manner that costs least and fits: first the one that was asked for, with fewer
// pictures together if need be; then without the text encoders, which changes no picture; then with
// tiles, which changes them a little; then in lower precision, if that is allowed.
class MemoryPlanner::Search {
 public:
  Search(MemoryPlanner& planner, const Item& item, const DeviceMemory& device, int64_t wanted)
      : planner_(planner),
        item_(item),
        device_(device),
        request_(image_request(item)),
        allowed_(allowance(device)),
        wanted_(by_video_model(item) ? 1 : std::max<int64_t>(wanted, 1)) {}

  BatchPlan run(const std::optional<Manner>& loaded) {
    const std::string first = loaded ? loaded->dtype : dtype_for(planner_.wish_.precision, device_);
    std::vector<Manner> manners = manners_in(first, loaded);
    const Manner plainest = manners.front();
    const bool lower =
        planner_.wish_.allow_lower_precision || planner_.wish_.precision == Precision::automatic;
    if (!loaded && lower && first == "float32")
      for (auto& manner : manners_in("bfloat16", std::nullopt))
        manners.push_back(std::move(manner));
    for (const auto& manner : manners) {
      if (const int64_t most = most_that_fit(manner); most > 0)
        return described(manner, most, true, plainest);
    }
    // One must be tried all the same: with what takes least.
    const auto least = std::ranges::min_element(
        manners, {}, [&](const Manner& manner) { return need(manner, 1).peak(); });
    return described(*least, 1, false, plainest);
  }

 private:
  std::vector<Manner> manners_in(const std::string& dtype,
                                 const std::optional<Manner>& loaded) const {
    const bool already_out = loaded && loaded->text_encoders_out;
    const bool already_on_host = loaded && loaded->text_encoder_on_host;
    std::vector<Manner> manners;
    const bool tiles_help = planner_.tiles_help(item_);
    for (const bool tiled : {false, true}) {
      if (tiled != request_.vae_tiling && (request_.vae_tiling || !tiles_help)) continue;
      for (const bool out : {false, true})
        if ((out || !already_out) && !already_on_host) manners.push_back({dtype, out, tiled});
      if (is_gpu(device_.name) && by_video_model(item_))
        manners.push_back({dtype, true, tiled, /*text_encoder_on_host=*/true});
    }
    return manners;
  }

  NeededMemory need(const Manner& manner, int64_t together) const {
    return planner_.need(item_, device_, manner, together);
  }

  bool fits(const Manner& manner, int64_t together) const {
    return with_margin(need(manner, together)) <= allowed_;
  }

  // What an earlier run learned when memory ran out.
  int64_t learned(const Manner& manner) const {
    const auto known = planner_.store_.find(planner_.key(item_, device_, manner));
    if (!known || !known->limit) return wanted_;
    const uint64_t within = known->limit_allowed + known->limit_allowed / 20;
    return allowed_ <= within ? std::min(*known->limit, wanted_) : wanted_;
  }

  int64_t most_that_fit(const Manner& manner) const {
    int64_t fit = 0, too_many = learned(manner) + 1;
    while (too_many - fit > 1) {
      const int64_t middle = fit + (too_many - fit) / 2;
      (fits(manner, middle) ? fit : too_many) = middle;
    }
    return fit;
  }

  BatchPlan described(const Manner& manner, int64_t batch, bool fits, const Manner& plainest) {
    BatchPlan plan;
    plan.device = device_.name;
    plan.dtype = manner.dtype;
    plan.precision = precision_of(manner.dtype);
    plan.batch = batch;
    plan.wished = std::min(planner_.wish_.batch_size, wanted_);
    plan.vae_tiling = manner.tiled;
    plan.text_encoders_out = manner.text_encoders_out;
    plan.text_encoder_on_host = manner.text_encoder_on_host;
    plan.fits = fits;
    plan.need = need(manner, batch);
    plan.allowed = allowed_;
    explain(plan, manner, plainest);
    return plan;
  }

  void explain(BatchPlan& plan, const Manner& manner, const Manner& plainest) const {
    const auto one = with_margin(need(plainest, 1));
    const auto say = [&](std::vector<std::string>& to, const std::string& what) {
      to.push_back(fmt::format("{}: one {} would take {}, and {} may be taken", what,
                               by_video_model(item_) ? "clip" : "picture", human_bytes(one),
                               human_bytes(allowed_)));
    };
    if (manner.dtype != plainest.dtype)
      say(plan.warnings, fmt::format("{} in place of {}", manner.dtype, plainest.dtype));
    if (manner.text_encoders_out && !plainest.text_encoders_out)
      say(plan.reasons, manner.text_encoder_on_host
                            ? "text encoder in the host's memory, while prompts are encoded"
                            : "text encoders only while prompts are encoded");
    if (manner.tiled && !plainest.tiled) say(plan.warnings, "decoded in tiles");
    if (plan.batch < wanted_ && plan.fits) {
      const bool was_learned = learned(manner) == plan.batch && this->fits(manner, plan.batch + 1);
      auto& to = plan.wished > 0 ? plan.warnings : plan.reasons;
      if (was_learned)
        to.push_back(fmt::format("{} together in place of {}: with more, memory ran out before",
                                 plan.batch, wanted_));
      else
        to.push_back(
            fmt::format("{} together in place of {}: those would take {}, and {} may be "
                        "taken",
                        plan.batch, wanted_, human_bytes(with_margin(need(manner, wanted_))),
                        human_bytes(allowed_)));
    }
    if (!plan.fits)
      plan.warnings.push_back(
          fmt::format("needs {} at the least, more than the {} that may be "
                      "taken",
                      human_bytes(plan.need.peak()), human_bytes(allowed_)));
  }

  MemoryPlanner& planner_;
  const Item& item_;
  const DeviceMemory& device_;
  ImageRequest request_;
  uint64_t allowed_;
  int64_t wanted_;
};

BatchPlan MemoryPlanner::plan(const Item& item, int64_t items, const DeviceMemory& device,
                              const std::optional<Manner>& loaded) {
  const int64_t wanted = wish_.batch_size > 0 ? wish_.batch_size : usual_batch(device.name);
  return Search(*this, item, device, std::min(wanted, items)).run(loaded);
}

BatchPlan MemoryPlanner::plan_batch(const Item& item, int64_t together, const DeviceMemory& device,
                                    const std::optional<Manner>& loaded) {
  return Search(*this, item, device, together).run(loaded);
}

int64_t MemoryPlanner::most_together(const Item& item, const std::string& device, int64_t workers) {
  const auto name = std::pair(device, workers);
  auto known = devices_.find(name);
  if (known == devices_.end()) known = devices_.emplace(name, device_memory(device, workers)).first;
  const int64_t wanted = wish_.batch_size > 0 ? wish_.batch_size : usual_batch(device);
  return plan(item, wanted, known->second).batch;
}

bool MemoryPlanner::tiles_help(const Item& item) {
  const auto request = image_request(item);
  const int64_t tile = sizes(item).vae_tile;
  return tile > 0 && (request.width > tile || request.height > tile);
}

}  // namespace backlot
