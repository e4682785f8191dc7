#include "fleet/batch_maker.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"
#include "fleet/batch_watch.h"
#include "fleet/clip_maker.h"
#include "fleet/making.h"
#include "media/picture_io.h"
#include "media/preview.h"
#include "spec/spec.h"

namespace backlot {
namespace {

// Encoding keeps up with a GPU only on several cores; on a CPU it must not take them from the
// model.
int writer_threads(const DeviceFacts& device) {
  return device.name.starts_with("cuda") ? std::clamp(usable_processors() / 2, 1, 8) : 1;
}

// What is wrong with a model the engine says best, when it loads it.
ModelSizes sizes_if_readable(const Item& item) {
  try {
    return read_model_sizes(item);
  } catch (const LoadError&) {
    return {};
  }
}

}  // namespace

BatchMaker::BatchMaker(LoadedPipeline& loaded, const OutputSettings& output, ResultStore& store,
                       const MakingOptions& options, RunProgress& progress, const StopSignal& stop)
    : loaded_(loaded),
      engine_(loaded.engine()),
      output_(output),
      store_(store),
      options_(options),
      progress_(progress),
      stop_(stop),
      device_(engine_.device()),
      memory_(device_memory(device_.name, options.workers)),
      planner_(options.planner),
      writer_([this](FinishedPicture finished) { write_or_tell(std::move(finished)); },
              writer_threads(device_), 2 * static_cast<size_t>(usual_batch(device_.name))) {
  store_.record_engine(
      {engine_.torch_version(), device_.name, device_.model, device_.memory_bytes});
  for (const auto& note : device_.notes) progress_.warning(device_.name + ": " + note);
  if (memory_.kind.empty()) memory_.kind = device_.model;
  memory_.limit = options_.memory_limit;
  if (!planner_)
    planner_ = std::make_shared<MemoryPlanner>(
        MemoryWish{options_.precision, options_.quantization, options_.batch_size,
                   options_.allow_lower_precision},
        MemoryStore(), sizes_if_readable);
  clips_ = std::make_unique<ClipMaker>(
      MakingPlace{loaded_, output_, store_, options_, progress_, stop_, *planner_, device_.name,
                  [this] { return memory_now(); }},
      [this](const Item& item, Picture picture, Attempt attempt, bool changed) {
        writer_.submit({&item, std::move(picture), std::move(attempt), {}, changed});
      });
}

BatchMaker::~BatchMaker() = default;

std::string BatchMaker::loaded_by(const Item& item) const {
  return fmt::format("{} {} {} {}{}", pipeline_key(item), item.model_fingerprint,
                     static_cast<int>(options_.precision), static_cast<int>(options_.quantization),
                     lowered_.contains(pipeline_key(item)) ? " lowered" : "");
}

bool BatchMaker::has_model_of(const Item& item) const {
  return by_video_model(item) ? clips_->has_model_of(item) : loaded_.holds(loaded_by(item));
}

DeviceMemory BatchMaker::memory_now() const {
  const DeviceFacts facts = engine_.device();
  DeviceMemory memory = memory_;
  memory.total = facts.memory_bytes;
  memory.free = facts.free_bytes;
  memory.held = facts.held_bytes;
  return memory;
}

// Of the pipeline that is loaded.
Manner BatchMaker::manner_now(const Item& item) const {
  return {.dtype = loaded_.held().dtype(),
          .text_encoders_out = loaded_.held().text_encoders_out(),
          .tiled = image_request(item).vae_tiling};
}

ImagePipeline& BatchMaker::load_as(const Item& item, const std::string& key, Precision precision,
                                   bool text_encoders_out) {
  BatchWatch watch(progress_, stop_, {});
  PipelineOptions options{.model = item.model,
                          .vae = item.vae,
                          .precision = precision,
                          .quantization = options_.quantization,
                          .text_encoders_out = text_encoders_out};
  if (const Json variant = item.parameters.value("variant", Json()); variant.is_string())
    options.variant = variant.get<std::string>();
  auto& pipeline = loaded_.get(key, options, watch);
  progress_.stage_ended();
  return pipeline;
}

// As planned for so many items like this one; with less in memory if that is found not to fit.
ImagePipeline& BatchMaker::load(const Item& item, int64_t items) {
  if (has_model_of(item)) return loaded_.held();
  loaded_.drop();
  const BatchPlan plan = planner_->plan(item, items, memory_now());
  try {
    return load_as(item, loaded_by(item), plan.precision, plan.text_encoders_out);
  } catch (const OutOfMemory&) {
    if (plan.text_encoders_out) throw;
  }
  progress_.warning("out of memory while loading; going on without the text encoders");
  return load_as(item, loaded_by(item), plan.precision, true);
}

void BatchMaker::tell_once(const std::string& about, const std::vector<std::string>& warnings) {
  for (const auto& warning : warnings)
    if (told_.insert(about + warning.substr(0, warning.find(':'))).second)
      progress_.warning(warning);
}

int64_t BatchMaker::most_together(const Item& item, int64_t items) {
  if (by_video_model(item)) return 1;
  load(item, items);
  const std::string batches = batch_key(item);
  const BatchPlan plan = planner_->plan(item, items, memory_now(), manner_now(item));
  tell_once(batches, plan.warnings);
  const auto learned = limits_.find(batches);
  return learned == limits_.end() ? plan.batch : std::min(plan.batch, learned->second);
}

size_t BatchMaker::look_ahead(std::span<const Item* const> coming, int64_t together) {
  constexpr size_t most = 96;
  if (by_video_model(*coming.front())) return 1;
  auto& pipeline = load(*coming.front(), std::ssize(coming));
  const auto size = static_cast<size_t>(together);
  if (!pipeline.text_encoders_out()) return std::min(size, coming.size());
  const size_t count = std::min(coming.size(), std::max(most / size * size, size));
  std::vector<ImageRequest> requests;
  for (const Item* item : coming.first(count)) requests.push_back(image_request(*item));
  try {
    pipeline.prepare(requests, together);
  } catch (const ItemError&) {
    // The batch that the item is in will say so.
  }
  return count;
}

void BatchMaker::make(const std::vector<const Item*>& batch) {
  const Item& first = *batch.front();
  if (by_video_model(first)) {
    for (const Item* item : batch) clips_->make(*item);
    return;
  }
  auto& pipeline = load(first, std::ssize(batch));
  const BatchPlan plan =
      planner_->plan_batch(first, std::ssize(batch), memory_now(), manner_now(first));
  if (plan.text_encoders_out && pipeline.move_text_encoders_out())
    progress_.detail("text encoders are in memory only while prompts are encoded");
  Steps steps;
  if (plan.vae_tiling && !image_request(first).vae_tiling) tiled_.insert(batch_key(first));
  if (plan.precision == Precision::bfloat16 && options_.precision == Precision::float32)
    steps.taken.push_back("made in bfloat16 for want of memory");
  const auto size = static_cast<size_t>(plan.fits ? plan.batch : 1);
  for (size_t at = 0; at < batch.size(); at += size) {
    const auto begin = batch.begin() + static_cast<std::ptrdiff_t>(at);
    make({begin, begin + static_cast<std::ptrdiff_t>(std::min(size, batch.size() - at))}, steps);
  }
}

void BatchMaker::drain() { writer_.drain(); }

void BatchMaker::make(std::vector<const Item*> batch, Steps steps) {
  ImagePipeline& pipeline = load(*batch.front(), std::ssize(batch));
  if (!steps.tiled && tiled_.contains(batch_key(*batch.front()))) {
    steps.tiled = true;
    steps.taken.push_back("decoded in tiles for want of memory");
  }
  Attempt attempt{.started = utc_now(),
                  .device = device_.name,
                  .dtype = pipeline.dtype(),
                  .quantization = std::string(quantization_name(options_.quantization)),
                  .batch = std::ssize(batch),
                  .tries = steps.tries};
  attempt.warnings = steps.taken;
  std::vector<ImageRequest> requests;
  for (const Item* item : batch) {
    requests.push_back(image_request(*item));
    requests.back().vae_tiling |= steps.tiled;
  }
  std::optional<std::string> out_of_memory;
  try {
    BatchWatch watch(progress_, stop_, batch);
    progress_.batch_begun(batch);
    auto results = pipeline.start(requests, watch);
    progress_.stage_ended();
    for (size_t i = 0; i < batch.size(); ++i)
      hand_over(*batch[i], std::move(results[i]), attempt, steps);
    measure(*batch.front(), std::ssize(batch), steps.tiled);
  } catch (const OutOfMemory& error) {
    out_of_memory = problem_of(error);
  } catch (const ItemError& error) {
    if (batch.size() == 1) return fail(batch, problem_of(error), attempt);
    // One item's fault must not take the others along: each is tried by itself.
    ++steps.tries;
    for (const Item* item : batch) progress_.item_retried(*item, problem_of(error));
    for (const Item* item : batch) make({item}, steps);
    return;
  }
  if (out_of_memory) step_down(std::move(batch), std::move(steps), *out_of_memory, attempt);
}

// Out of memory: halve the batch (and keep to that), then decode in tiles, then do without the text
// encoders, then go down in precision if that is allowed, then give the item up. What helped is
// kept for the next run.
void BatchMaker::step_down(std::vector<const Item*> batch, Steps steps, const std::string& problem,
                           const Attempt& attempt) {
  const Item& first = *batch.front();
  ++steps.tries;
  const auto step = [&](const std::string& what) {
    steps.taken.push_back("out of memory; " + what);
    progress_.warning(steps.taken.back());
    for (const Item* item : batch) progress_.item_retried(*item, problem);
  };
  if (batch.size() > 1) {
    const size_t half = (batch.size() + 1) / 2;
    limits_[batch_key(first)] = static_cast<int64_t>(half);
    learn_limit(first, steps.tiled, static_cast<int64_t>(half));
    step(fmt::format("{} together in place of {}", half, batch.size()));
    const auto middle = batch.begin() + static_cast<std::ptrdiff_t>(half);
    make({batch.begin(), middle}, steps);
    make({middle, batch.end()}, steps);
    return;
  }
  const bool tiled = steps.tiled || image_request(first).vae_tiling;
  learn_limit(first, tiled, 0);
  if (!tiled && planner_->tiles_help(first)) {
    tiled_.insert(batch_key(first));
    step("decoded in tiles");
  } else if (loaded_.held().move_text_encoders_out()) {
    step("text encoders only while prompts are encoded");
  } else if (options_.allow_lower_precision && lower_precision(first)) {
    step("bfloat16 in place of float32");
  } else {
    return fail(batch, problem, attempt);
  }
  make(std::move(batch), std::move(steps));
}

// False: it was not float32.
bool BatchMaker::lower_precision(const Item& item) {
  if (loaded_.held().dtype() != "float32") return false;
  const bool out = loaded_.held().text_encoders_out();
  lowered_.insert(pipeline_key(item));
  loaded_.drop();
  load_as(item, loaded_by(item), Precision::bfloat16, out);
  return true;
}

void BatchMaker::learn_limit(const Item& item, bool tiled, int64_t limit) {
  Manner manner = manner_now(item);
  manner.tiled = tiled;
  const DeviceMemory now = memory_now();
  planner_->store().note_limit(planner_->key(item, now, manner), limit, allowance(now));
}

// Holds what was taken against the plan; the store is right from then on.
void BatchMaker::measure(const Item& item, int64_t together, bool tiled) {
  const PipelineMemory took = loaded_.held().memory();
  if (took.peak == 0 || took.loaded == 0) return;
  Manner manner = manner_now(item);
  manner.tiled |= tiled;
  const DeviceMemory now = memory_now();
  const uint64_t planned =
      measurable_peak(device_.name, planner_->need(item, now, manner, together));
  if (took.peak > planned + planned / 10)
    progress_.detail(fmt::format("{} pictures together took {}, more than the {} planned; noted",
                                 together, human_bytes(took.peak), human_bytes(planned)));
  planner_->store().note_batch(planner_->key(item, now, manner), took.before, took.loaded, together,
                               took.peak);
}

void BatchMaker::hand_over(const Item& item, ImageResult result, Attempt attempt,
                           const Steps& steps) {
  note_seconds(attempt, result.seconds);
  for (const auto& warning : result.warnings)
    progress_.warning(fmt::format("{}: {}", item.output, warning));
  attempt.warnings = std::move(result.warnings);
  attempt.warnings.insert(attempt.warnings.end(), steps.taken.begin(), steps.taken.end());
  writer_.submit({&item, std::move(result.picture), std::move(attempt), std::move(result.delivery),
                  steps.tiled});
}

void BatchMaker::fail(const std::vector<const Item*>& batch, const std::string& error,
                      Attempt attempt) {
  for (const Item* item : batch) {
    store_.record_failed(*item, error, attempt);
    progress_.item_failed(*item, error);
  }
}

// Once the item is done: whatever becomes of the cache, the run has its output.
void BatchMaker::put_into_cache(const FinishedPicture& finished, std::string bytes,
                                const OutputFile& file) {
  // Decoded in tiles for want of memory it has slightly other pixels than were asked for.
  if (!options_.cache || finished.changed_for_memory) return;
  CachedOutput output;
  output.bytes = std::move(bytes);
  output.sha256 = file.sha256;
  output.width = finished.picture.width;
  output.height = finished.picture.height;
  output.attempt = finished.attempt;
  options_.cache->put(
      cache_key(*finished.item, output_, made_with(finished.attempt), options_.cache->version()),
      output);
}

void BatchMaker::write_or_tell(FinishedPicture finished) {
  try {
    write(std::move(finished));
  } catch (...) {
    if (options_.write_failed) options_.write_failed();
    throw;
  }
}

void BatchMaker::write(FinishedPicture finished) {
  const Item& item = *finished.item;
  progress_.writing(item);
  const Json record = metadata_record(item, finished.attempt);
  const PictureFormat format{.kind = *picture_kind(output_.format),
                             .quality = output_.quality,
                             .max_bytes = output_.max_bytes};
  try {
    if (finished.delivery) {
      auto delivered = std::exchange(finished.delivery, {})();
      finished.picture = std::move(delivered.picture);
      note_seconds(finished.attempt, delivered.seconds);
    }
    progress_.item_progress(item, 100,
                            progress_.wants_previews() ? preview_uri(finished.picture) : "");
    const Stopwatch watch;
    std::string bytes = encode_picture(
        finished.picture, format, output_.metadata ? describe_picture(record) : PictureMetadata{});
    const OutputFile file = store_.write_output(item, bytes);
    finished.attempt.write = watch.seconds();
    store_.record_done(item, file, finished.picture.width, finished.picture.height,
                       finished.attempt);
    progress_.item_recorded(item, {.id = item.id,
                                   .index = item.index,
                                   .status = ItemStatus::done,
                                   .file = file,
                                   .width = finished.picture.width,
                                   .height = finished.picture.height,
                                   .attempt = finished.attempt});
    put_into_cache(finished, std::move(bytes), file);
    progress_.item_done(item, finished.attempt.seconds());
  } catch (const ItemError& error) {
    fail({&item}, problem_of(error), finished.attempt);
  }
}

}  // namespace backlot
