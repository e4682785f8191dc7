#include "fleet/clip_maker.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "fleet/batch_watch.h"
#include "fleet/batching.h"
#include "fleet/clip_output.h"
#include "fleet/making.h"
#include "media/preview.h"
#include "spec/spec.h"

namespace backlot {
namespace {

// What a kill may cost where nobody says otherwise; keeping one takes a moment of the disk's time.
constexpr double seconds_between_checkpoints = 20;

// Larger clips are not worth the memory that a cache takes them through.
constexpr uint64_t most_cached_bytes = uint64_t{256} << 20;

TextEncoderPlace place_of(const BatchPlan& plan) {
  if (plan.text_encoder_on_host) return TextEncoderPlace::host;
  return plan.text_encoders_out ? TextEncoderPlace::while_encoding : TextEncoderPlace::held;
}

}  // namespace

ClipMaker::ClipMaker(MakingPlace place, PictureSink picture)
    : place_(std::move(place)), picture_(std::move(picture)) {}

std::string ClipMaker::loaded_by(const Item& item) const {
  return fmt::format("video {} {} {}{}", pipeline_key(item), item.model_fingerprint,
                     static_cast<int>(place_.options.precision),
                     lowered_.contains(pipeline_key(item)) ? " lowered" : "");
}

bool ClipMaker::has_model_of(const Item& item) const {
  return place_.loaded.holds(loaded_by(item));
}

Manner ClipMaker::manner_now(const Item& item) const {
  const VideoPipeline& held = place_.loaded.held_video();
  Manner manner;
  manner.dtype = held.dtype();
  manner.text_encoders_out = held.text_encoder() != TextEncoderPlace::held;
  manner.text_encoder_on_host = held.text_encoder() == TextEncoderPlace::host;
  manner.tiled = video_request(item).vae_tiling;
  return manner;
}

VideoPipeline& ClipMaker::load_as(const Item& item, Precision precision,
                                  TextEncoderPlace text_encoder) {
  BatchWatch watch(place_.progress, place_.stop, {});
  VideoPipelineOptions options;
  options.model = item.model;
  options.precision = precision;
  options.text_encoder = text_encoder;
  if (const Json variant = item.parameters.value("variant", Json()); variant.is_string())
    options.variant = variant.get<std::string>();
  auto& pipeline = place_.loaded.get_video(loaded_by(item), options, watch);
  place_.progress.stage_ended();
  return pipeline;
}

// As planned; with less in memory if that is found not to fit.
VideoPipeline& ClipMaker::load(const Item& item) {
  if (has_model_of(item)) return place_.loaded.held_video();
  place_.loaded.drop();
  const BatchPlan plan = place_.planner.plan(item, 1, place_.memory_now());
  try {
    return load_as(item, plan.precision, place_of(plan));
  } catch (const OutOfMemory&) {
    if (plan.text_encoders_out) throw;
  }
  place_.progress.warning("out of memory while loading; going on without the text encoder");
  return load_as(item, plan.precision, TextEncoderPlace::while_encoding);
}

void ClipMaker::make(const Item& item) {
  Steps steps;
  follow_plan(item, steps);
  while (!made(item, steps)) ++steps.tries;
}

// What is loaded may have been so for smaller clips.
void ClipMaker::follow_plan(const Item& item, Steps& steps) {
  VideoPipeline& pipeline = load(item);
  const BatchPlan plan = place_.planner.plan_batch(item, 1, place_.memory_now(), manner_now(item));
  const std::string batches = batch_key(item);
  if (told_.insert(batches).second)
    for (const auto& warning : plan.warnings) place_.progress.warning(warning);
  if (plan.text_encoders_out && pipeline.move_text_encoder(place_of(plan)))
    place_.progress.detail("the text encoder is there only while prompts are encoded");
  if (plan.vae_tiling && !video_request(item).vae_tiling) tiled_.insert(batches);
  if (plan.precision == Precision::bfloat16 && place_.options.precision == Precision::float32)
    steps.taken.push_back("made in bfloat16 for want of memory");
}

// False: it is to be tried again, as `steps` now say.
bool ClipMaker::made(const Item& item, Steps& steps) {
  VideoPipeline& pipeline = load(item);
  if (!steps.tiled && tiled_.contains(batch_key(item))) {
    steps.tiled = true;
    steps.taken.push_back("decoded in tiles for want of memory");
  }
  Attempt attempt;
  attempt.started = utc_now();
  attempt.device = place_.device;
  attempt.dtype = pipeline.dtype();
  attempt.tries = steps.tries;
  std::string problem;
  try {
    render(item, steps, attempt);
    measure(item, steps.tiled);
    return true;
  } catch (const OutOfMemory& error) {
    problem = problem_of(error);
  } catch (const ItemError& error) {
    fail(item, problem_of(error), std::move(attempt));
    return true;
  }
  if (step_down(item, steps, problem)) return false;
  attempt.warnings = steps.taken;
  fail(item, problem, std::move(attempt));
  return true;
}

void ClipMaker::render(const Item& item, const Steps& steps, Attempt& attempt) {
  RunProgress& progress = place_.progress;
  const Item* const batch[] = {&item};
  BatchWatch watch(progress, place_.stop, batch);
  progress.batch_begun(batch);
  VideoRequest request = video_request(item);
  request.vae_tiling |= steps.tiled;
  const bool clip = makes_clip(item);
  std::optional<ClipOutput> output;
  if (clip)
    output.emplace(item, place_.output, place_.store,
                   place_.output.metadata ? describe_picture(metadata_record(item, attempt))
                                          : PictureMetadata{});
  Picture last;
  const auto result = place_.loaded.held_video().generate(
      request,
      [&](Picture frame) {
        if (output) output->add(frame);
        last = std::move(frame);
      },
      checkpoints(item), watch);
  progress.stage_ended();
  note_seconds(attempt, result.seconds);
  if (result.resumed_from > 0)
    progress.detail(fmt::format("{}: went on from step {} of an earlier try", item.output,
                                result.resumed_from));
  for (const auto& warning : result.warnings)
    progress.warning(fmt::format("{}: {}", item.output, warning));
  attempt.warnings = result.warnings;
  attempt.warnings.insert(attempt.warnings.end(), steps.taken.begin(), steps.taken.end());
  if (request.step_cache > 0)
    attempt.warnings.push_back(
        fmt::format("step cache: {} of {} evaluations of the transformer reused an earlier one's",
                    result.skipped_evaluations, result.evaluations));
  if (!clip) return picture_(item, std::move(last), attempt, steps.tiled);

  progress.writing(item);
  progress.item_progress(item, 100, progress.wants_previews() ? preview_uri(last) : "");
  const Stopwatch watch_writing;
  const OutputFile file = output->finish();
  attempt.write = watch_writing.seconds();
  place_.store.record_done(item, file, result.width, result.height, attempt);
  Record record;
  record.id = item.id;
  record.index = item.index;
  record.status = ItemStatus::done;
  record.file = file;
  record.width = result.width;
  record.height = result.height;
  record.attempt = attempt;
  progress.item_recorded(item, record);
  if (!steps.tiled) put_into_cache(item, attempt, file, result.width, result.height);
  progress.item_done(item, attempt.seconds());
}

VideoCheckpoints ClipMaker::checkpoints(const Item& item) {
  VideoCheckpoints checkpoints;
  const auto every = place_.options.checkpoint_steps;
  if (every == 0) return checkpoints;
  checkpoints.resume_from = place_.store.checkpoint(item).value_or("");
  since_checkpoint_ = Stopwatch();
  checkpoints.due = [this, every](int64_t done, int64_t) {
    return every ? done % *every == 0 : since_checkpoint_.seconds() > seconds_between_checkpoints;
  };
  checkpoints.keep = [this, &item](const std::string& blob) {
    place_.store.keep_checkpoint(item, blob);
    since_checkpoint_ = Stopwatch();
  };
  return checkpoints;
}

bool ClipMaker::step_down(const Item& item, Steps& steps, const std::string& problem) {
  const auto step = [&](const std::string& what) {
    steps.taken.push_back("out of memory; " + what);
    place_.progress.warning(steps.taken.back());
    place_.progress.item_retried(item, problem);
    return true;
  };
  const bool tiled = steps.tiled || video_request(item).vae_tiling;
  learn_limit(item, tiled);
  if (!tiled && place_.planner.tiles_help(item)) {
    tiled_.insert(batch_key(item));
    steps.tiled = true;
    return step("decoded in tiles");
  }
  VideoPipeline& held = place_.loaded.held_video();
  if (held.move_text_encoder(TextEncoderPlace::while_encoding))
    return step("text encoder only while prompts are encoded");
  if (place_.device != "cpu" && held.move_text_encoder(TextEncoderPlace::host))
    return step("text encoder in the host's memory");
  if (place_.options.allow_lower_precision && lower_precision(item))
    return step("bfloat16 in place of float32");
  return false;
}

// False: it was not float32.
bool ClipMaker::lower_precision(const Item& item) {
  const VideoPipeline& held = place_.loaded.held_video();
  if (held.dtype() != "float32") return false;
  const TextEncoderPlace text_encoder = held.text_encoder();
  lowered_.insert(pipeline_key(item));
  place_.loaded.drop();
  load_as(item, Precision::bfloat16, text_encoder);
  return true;
}

void ClipMaker::learn_limit(const Item& item, bool tiled) {
  Manner manner = manner_now(item);
  manner.tiled = tiled;
  const DeviceMemory now = place_.memory_now();
  place_.planner.store().note_limit(place_.planner.key(item, now, manner), 0, allowance(now));
}

void ClipMaker::measure(const Item& item, bool tiled) {
  const PipelineMemory took = place_.loaded.held_video().memory();
  if (took.peak == 0 || took.loaded == 0) return;
  Manner manner = manner_now(item);
  manner.tiled |= tiled;
  const DeviceMemory now = place_.memory_now();
  const uint64_t planned =
      measurable_peak(place_.device, place_.planner.need(item, now, manner, 1));
  if (took.peak > planned + planned / 10)
    place_.progress.detail(fmt::format("{} took {}, more than the {} planned; noted", item.output,
                                       human_bytes(took.peak), human_bytes(planned)));
  place_.planner.store().note_batch(place_.planner.key(item, now, manner), took.before, took.loaded,
                                    1, took.peak);
}

void ClipMaker::fail(const Item& item, const std::string& problem, Attempt attempt) {
  place_.store.record_failed(item, problem, std::move(attempt));
  place_.progress.item_failed(item, problem);
}

// Files alone: an entry of the cache is one. Whatever becomes of it, the run has its output.
void ClipMaker::put_into_cache(const Item& item, const Attempt& attempt, const OutputFile& file,
                               int64_t width, int64_t height) {
  ResultCache* const cache = place_.options.cache;
  if (!cache || is_folder_format(place_.output.format) || file.bytes > most_cached_bytes) return;
  CachedOutput output;
  try {
    output.bytes = read_file(place_.store.place_for(item), most_cached_bytes);
  } catch (const EnvironmentError&) {
    return;
  }
  output.sha256 = file.sha256;
  output.width = width;
  output.height = height;
  output.attempt = attempt;
  output.clip = file.clip;
  cache->put(cache_key(item, place_.output, made_with(attempt), cache->version()), output);
}

}  // namespace backlot
