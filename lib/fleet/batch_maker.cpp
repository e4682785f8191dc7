#include "fleet/batch_maker.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/machine.h"
#include "base/time.h"
#include "fleet/quarters.h"
#include "media/picture_io.h"
#include "media/preview.h"
#include "spec/spec.h"

namespace backlot {
namespace {

// After a first signal the batch in hand goes on if it should end within this; the rest of the
// grace is for writing it.
constexpr double finish_within_seconds = 3.5;

// On a CPU a larger batch saves little and delays the first result; a GPU is filled by more.
constexpr int64_t most_on_cpu = 4, most_on_gpu = 16;

int64_t most_in_batch(const DeviceFacts& device) {
  return device.name.starts_with("cuda") ? most_on_gpu : most_on_cpu;
}

// Encoding keeps up with a GPU only on several cores; on a CPU it must not take them from the
// model.
int writer_threads(const DeviceFacts& device) {
  return device.name.starts_with("cuda") ? std::clamp(usable_processors() / 2, 1, 8) : 1;
}

void note_seconds(Attempt& attempt, const StageSeconds& seconds) {
  attempt.text_encode = seconds.text_encode;
  attempt.denoise = seconds.denoise;
  attempt.decode = seconds.decode;
}

std::string problem_of(const std::exception& error) {
  if (const auto* ours = dynamic_cast<const Error*>(&error))
    return ours->where().empty() ? ours->problem() + "; " + ours->mend() : ours->what();
  return error.what();
}

}  // namespace

class BatchMaker::Watch : public Progress {
 public:
  Watch(RunProgress& progress, const StopSignal& stop, std::span<const Item* const> batch)
      : progress_(progress), stop_(stop), batch_(batch), previews_(batch.size()) {}

  void stage(std::string_view name) override {
    stage_ = name;
    progress_.stage(name);
  }
  void step(int64_t done, int64_t total) override {
    if (done > 0) step_seconds_ = step_.lap();
    remaining_ = total - done;
    progress_.step(done, total, std::ssize(batch_));
    if (stage_ == "denoise") say_how_far(done, total);
  }
  void denoising(std::span<const size_t> items) override {
    denoised_.assign(items.begin(), items.end());
    quarters_ = {};
  }
  bool wants_previews(int64_t done, int64_t total) override {
    return progress_.wants_previews() && !quarters_.passed_by(done, total).empty();
  }
  void preview(size_t item, const Picture& picture) override {
    previews_.at(item) = preview_uri(picture);
  }
  bool stop_requested() const override {
    if (!stop_.requested()) return false;
    if (stage_ == "load") return true;
    // Decoding costs about as much as a few steps.
    const double left =
        static_cast<double>(remaining_ + (stage_ == "denoise" ? 3 : 0)) * step_seconds_;
    return stop_.seconds_since() + left > finish_within_seconds;
  }

 private:
  void say_how_far(int64_t done, int64_t total) {
    const auto passed = quarters_.pass(done, total);
    for (const int percent : passed)
      for (const size_t item : denoised_)
        progress_.item_progress(*batch_[item], percent,
                                percent == passed.back() ? previews_[item] : "");
  }

  RunProgress& progress_;
  const StopSignal& stop_;
  std::span<const Item* const> batch_;
  std::vector<std::string> previews_;  // as data: URIs, by place in the batch
  std::vector<size_t> denoised_;       // places in the batch of those that steps are of
  Quarters quarters_;
  std::string stage_;
  Stopwatch step_;
  double step_seconds_ = 0;
  int64_t remaining_ = 0;
};

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
      writer_([this](FinishedPicture finished) { write_or_tell(std::move(finished)); },
              writer_threads(device_), 2 * static_cast<size_t>(most_in_batch(device_))) {
  store_.record_engine(
      {engine_.torch_version(), device_.name, device_.model, device_.memory_bytes});
  for (const auto& note : device_.notes) progress_.warning(device_.name + ": " + note);
}

std::string BatchMaker::loaded_by(const Item& item) const {
  return fmt::format("{} {} {} {}", pipeline_key(item), item.model_fingerprint,
                     static_cast<int>(options_.precision), static_cast<int>(options_.quantization));
}

bool BatchMaker::has_model_of(const Item& item) const { return loaded_.holds(loaded_by(item)); }

ImagePipeline& BatchMaker::load(const Item& item) {
  if (has_model_of(item)) return loaded_.held();
  Watch watch(progress_, stop_, {});
  PipelineOptions options{.model = item.model,
                          .vae = item.vae,
                          .precision = options_.precision,
                          .quantization = options_.quantization};
  if (const Json variant = item.parameters.value("variant", Json()); variant.is_string())
    options.variant = variant.get<std::string>();
  auto& pipeline = loaded_.get(loaded_by(item), options, watch);
  progress_.stage_ended();
  return pipeline;
}

int64_t BatchMaker::most_together(const Item& item, int64_t items) {
  const auto request = image_request(item);
  const uint64_t need =
      load(item).bytes_per_item(request.width, request.height, request.guidance_scale > 1);
  const int64_t size = choose_batch_size(options_.batch_size, need, engine_.device().free_bytes,
                                         most_in_batch(device_), items);
  const auto learned = limits_.find(batch_key(item));
  return learned == limits_.end() ? size : std::min(size, learned->second);
}

void BatchMaker::make(const std::vector<const Item*>& batch) {
  const Item& first = *batch.front();
  ImagePipeline& pipeline = load(first);
  const auto request = image_request(first);
  // One picture that will not fit is decoded in tiles from the start: on a CPU nothing says "out
  // of memory" before the kernel ends the process.
  const bool tiled =
      pipeline.bytes_per_item(request.width, request.height, request.guidance_scale > 1) >
      engine_.device().free_bytes;
  make(pipeline, batch, tiled, 1);
}

void BatchMaker::drain() { writer_.drain(); }

// Out of memory: halve the batch (and keep to that), then decode in tiles, then give the item up.
void BatchMaker::make(ImagePipeline& pipeline, std::vector<const Item*> batch, bool tiled,
                      int64_t tries) {
  Attempt attempt{.started = utc_now(),
                  .device = device_.name,
                  .dtype = pipeline.dtype(),
                  .quantization = std::string(quantization_name(options_.quantization)),
                  .batch = std::ssize(batch),
                  .tries = tries};
  std::vector<ImageRequest> requests;
  for (const Item* item : batch) {
    requests.push_back(image_request(*item));
    requests.back().vae_tiling |= tiled;
  }
  std::optional<std::string> out_of_memory;
  try {
    Watch watch(progress_, stop_, batch);
    progress_.batch_begun(batch);
    auto results = pipeline.start(requests, watch);
    progress_.stage_ended();
    for (size_t i = 0; i < batch.size(); ++i)
      hand_over(*batch[i], std::move(results[i]), attempt, tiled);
  } catch (const OutOfMemory& error) {
    out_of_memory = problem_of(error);
  } catch (const ItemError& error) {
    if (batch.size() == 1) return fail(batch, problem_of(error), attempt);
    // One item's fault must not take the others along: each is tried by itself.
    for (const Item* item : batch) progress_.item_retried(*item, problem_of(error));
    for (const Item* item : batch) make(pipeline, {item}, tiled, tries + 1);
    return;
  }
  if (!out_of_memory) return;

  if (batch.size() > 1 || !requests.front().vae_tiling)
    for (const Item* item : batch) progress_.item_retried(*item, *out_of_memory);
  if (batch.size() > 1) {
    const size_t half = (batch.size() + 1) / 2;
    limits_[batch_key(*batch.front())] = static_cast<int64_t>(half);
    progress_.warning(fmt::format("out of memory with {} pictures together; going on with {}",
                                  batch.size(), half));
    const auto middle = batch.begin() + static_cast<std::ptrdiff_t>(half);
    make(pipeline, {batch.begin(), middle}, tiled, tries + 1);
    make(pipeline, {middle, batch.end()}, tiled, tries + 1);
  } else if (!requests.front().vae_tiling) {
    make(pipeline, std::move(batch), true, tries + 1);
  } else {
    fail(batch, *out_of_memory, attempt);
  }
}

void BatchMaker::hand_over(const Item& item, ImageResult result, Attempt attempt, bool tiled) {
  note_seconds(attempt, result.seconds);
  attempt.warnings = std::move(result.warnings);
  if (tiled) attempt.warnings.push_back("decoded in tiles for want of memory");
  for (const auto& warning : attempt.warnings)
    progress_.warning(fmt::format("{}: {}", item.output, warning));
  writer_.submit(
      {&item, std::move(result.picture), std::move(attempt), std::move(result.delivery), tiled});
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
  MadeWith how;
  how.device = device_.name.substr(0, device_.name.find(':'));
  how.dtype = finished.attempt.dtype;
  how.quantization = finished.attempt.quantization;
  CachedOutput output;
  output.bytes = std::move(bytes);
  output.sha256 = file.sha256;
  output.width = finished.picture.width;
  output.height = finished.picture.height;
  output.attempt = finished.attempt;
  options_.cache->put(cache_key(*finished.item, output_, how, options_.cache->version()), output);
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
  const Json record{
      {"id", item.id},
      {"parameters", item.parameters},
      {"model",
       {{"path", item.model.filename().string()}, {"fingerprint", item.model_fingerprint}}},
      {"dtype", finished.attempt.dtype},
      {"quantization", finished.attempt.quantization}};
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
