#include "fleet/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/machine.h"
#include "base/time.h"
#include "media/picture_io.h"
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

class Runner::Watch : public Progress {
 public:
  Watch(RunProgress& progress, const StopSignal& stop, int64_t batch)
      : progress_(progress), stop_(stop), batch_(batch) {}

  void stage(std::string_view name) override {
    stage_ = name;
    progress_.stage(name);
  }
  void step(int64_t done, int64_t total) override {
    if (done > 0) step_seconds_ = step_.lap();
    remaining_ = total - done;
    progress_.step(done, total, batch_);
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
  RunProgress& progress_;
  const StopSignal& stop_;
  int64_t batch_;
  std::string stage_;
  Stopwatch step_;
  double step_seconds_ = 0;
  int64_t remaining_ = 0;
};

Runner::Runner(LoadedPipeline& loaded, const Plan& plan, RunFolder& folder,
               const RunnerOptions& options, RunProgress& progress, const StopSignal& stop)
    : loaded_(loaded),
      engine_(loaded.engine()),
      plan_(plan),
      folder_(folder),
      options_(options),
      progress_(progress),
      stop_(stop),
      device_(engine_.device()),
      writer_([this](FinishedPicture finished) { write(std::move(finished)); },
              writer_threads(device_), 2 * static_cast<size_t>(most_in_batch(device_))) {
  folder_.record_engine(
      {engine_.torch_version(), device_.name, device_.model, device_.memory_bytes});
  for (const auto& note : device_.notes) progress_.warning(device_.name + ": " + note);
}

void Runner::run() {
  auto groups = group_items(folder_.pending());
  // An earlier run of the same call may have left a pipeline that one of the groups needs.
  std::ranges::stable_partition(
      groups, [&](const PipelineGroup& group) { return loaded_.holds(loaded_by(group)); });
  for (const auto& group : groups) run_group(group);
  writer_.drain();
}

std::string Runner::loaded_by(const PipelineGroup& group) const {
  const Item& first = *group.batches.front().items.front();
  return fmt::format("{} {} {} {}", pipeline_key(first), first.model_fingerprint,
                     static_cast<int>(options_.precision), static_cast<int>(options_.quantization));
}

void Runner::run_group(const PipelineGroup& group) {
  const Item& first = *group.batches.front().items.front();
  Watch watch(progress_, stop_, 0);
  PipelineOptions options{.model = first.model,
                          .vae = first.vae,
                          .precision = options_.precision,
                          .quantization = options_.quantization};
  if (const Json variant = first.parameters.value("variant", Json()); variant.is_string())
    options.variant = variant.get<std::string>();
  auto& pipeline = loaded_.get(loaded_by(group), options, watch);
  progress_.stage_ended();
  for (const auto& batch : group.batches) run_batches(pipeline, batch);
}

void Runner::run_batches(ImagePipeline& pipeline, const BatchGroup& group) {
  const Item& first = *group.items.front();
  const auto request = image_request(first);
  const uint64_t need =
      pipeline.bytes_per_item(request.width, request.height, request.guidance_scale > 1);
  int64_t limit = choose_batch_size(options_.batch_size, need, engine_.device().free_bytes,
                                    most_in_batch(device_), std::ssize(group.items));
  // One picture that will not fit is decoded in tiles from the start: on a CPU nothing says "out of
  // memory" before the kernel ends the process.
  const bool tiled = need > engine_.device().free_bytes;
  for (size_t at = 0; at < group.items.size();) {
    if (stop_.requested()) throw Interrupted();
    const size_t size = std::min<size_t>(static_cast<size_t>(limit), group.items.size() - at);
    const auto begin = group.items.begin() + static_cast<std::ptrdiff_t>(at);
    run_batch(pipeline, {begin, begin + static_cast<std::ptrdiff_t>(size)}, tiled, 1, limit);
    at += size;
  }
}

// Out of memory: halve the batch (and keep to that), then decode in tiles, then give the item up.
void Runner::run_batch(ImagePipeline& pipeline, std::vector<const Item*> batch, bool tiled,
                       int64_t tries, int64_t& limit) {
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
    Watch watch(progress_, stop_, std::ssize(batch));
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
    for (const Item* item : batch) run_batch(pipeline, {item}, tiled, tries + 1, limit);
    return;
  }
  if (!out_of_memory) return;

  if (batch.size() > 1) {
    const size_t half = (batch.size() + 1) / 2;
    limit = static_cast<int64_t>(half);
    progress_.warning(fmt::format("out of memory with {} pictures together; going on with {}",
                                  batch.size(), half));
    const auto middle = batch.begin() + static_cast<std::ptrdiff_t>(half);
    run_batch(pipeline, {batch.begin(), middle}, tiled, tries + 1, limit);
    run_batch(pipeline, {middle, batch.end()}, tiled, tries + 1, limit);
  } else if (!requests.front().vae_tiling) {
    run_batch(pipeline, std::move(batch), true, tries + 1, limit);
  } else {
    fail(batch, *out_of_memory, attempt);
  }
}

void Runner::hand_over(const Item& item, ImageResult result, Attempt attempt, bool tiled) {
  note_seconds(attempt, result.seconds);
  attempt.warnings = std::move(result.warnings);
  if (tiled) attempt.warnings.push_back("decoded in tiles for want of memory");
  for (const auto& warning : attempt.warnings)
    progress_.warning(fmt::format("{}: {}", item.output, warning));
  writer_.submit(
      {&item, std::move(result.picture), std::move(attempt), std::move(result.delivery)});
}

void Runner::fail(const std::vector<const Item*>& batch, const std::string& error,
                  Attempt attempt) {
  for (const Item* item : batch) {
    folder_.record_failed(*item, error, attempt);
    progress_.item_failed(*item, error);
  }
}

void Runner::write(FinishedPicture finished) {
  const Item& item = *finished.item;
  progress_.writing(item);
  const Json record{
      {"id", item.id},
      {"parameters", item.parameters},
      {"model",
       {{"path", item.model.filename().string()}, {"fingerprint", item.model_fingerprint}}},
      {"dtype", finished.attempt.dtype},
      {"quantization", finished.attempt.quantization}};
  const PictureFormat format{.kind = *picture_kind(plan_.output.format),
                             .quality = plan_.output.quality,
                             .max_bytes = plan_.output.max_bytes};
  try {
    if (finished.delivery) {
      auto delivered = std::exchange(finished.delivery, {})();
      finished.picture = std::move(delivered.picture);
      note_seconds(finished.attempt, delivered.seconds);
    }
    const Stopwatch watch;
    const std::string bytes =
        encode_picture(finished.picture, format,
                       plan_.output.metadata ? describe_picture(record) : PictureMetadata{});
    const OutputFile file = folder_.write_output(item, bytes);
    finished.attempt.write = watch.seconds();
    folder_.record_done(item, file, finished.picture.width, finished.picture.height,
                        finished.attempt);
    progress_.item_done(item, finished.attempt.seconds());
  } catch (const ItemError& error) {
    fail({&item}, problem_of(error), finished.attempt);
  }
}

}  // namespace backlot
