// What generate and fleet-run know of clips before they are made.
#include <fmt/format.h>

#include <map>
#include <set>

#include "fleet/clip_output.h"
#include "generate.h"
#include "schedulers/names.h"
#include "spec/scene_spans.h"
#include "weights/model_folder.h"

namespace backlot {
namespace {

[[noreturn]] void refuse(const PreparedRun& run, std::string what, std::string mend) {
  throw SpecError(run.document.sources.where(run.document.mark), std::move(what), std::move(mend));
}

// Video models predict flows: samplers of noise would turn those into nothing.
void insist_on_flow(const PreparedRun& run, const Json& config) {
  const std::string name = config.at("_class_name");
  if (name.starts_with("FlowMatch") || config.value("prediction_type", "") == "flow_prediction")
    return;
  refuse(run, fmt::format("scheduler: {} does not sample flows, which this model predicts", name),
         "leave scheduler out, or give one of flows: FlowMatchEulerDiscreteScheduler, or "
         "UniPCMultistepScheduler with prediction_type flow_prediction");
}

void check_scheduler_of(const PreparedRun& run, const Item& item) {
  const Json choice = item.parameters.value("scheduler", Json());
  const Json folder = ModelFolder::open(item.model).config("scheduler");
  try {
    insist_on_flow(run, resolve_scheduler_config(choice, folder));
  } catch (const LoadError& error) {
    // What the folder says does not go with the class that a job names.
    if (choice.is_null()) throw;
    refuse(run,
           fmt::format("scheduler: {} does not go with this model: {}", choice.dump(),
                       error.problem()),
           "leave scheduler out, or give a mapping with _class_name");
  }
}

}  // namespace

std::string length_of(const Item& item) {
  if (!makes_clip(item)) return "";
  const size_t scenes = scene_spans(item.parameters).size();
  return fmt::format(" x {} frames at {} fps{}", item.parameters["frames"].get<int64_t>(),
                     item.parameters["fps"].get<double>(),
                     scenes > 0 ? fmt::format(" in {} scene(s)", scenes) : "");
}

void check_clips(const PreparedRun& run, const GenerateOptions& options) {
  std::set<double> rates;
  std::map<std::string, const Item*> schedulers;
  for (const auto& item : run.plan.items) {
    if (!by_video_model(item)) continue;
    if (options.quantize != "none")
      throw UsageError("--quantize " + options.quantize, "is not available for video models",
                       "leave it out");
    schedulers.emplace(item.parameters.value("scheduler", Json()).dump(), &item);
    if (makes_clip(item)) rates.insert(item.parameters["fps"].get<double>());
  }
  for (const auto& [choice, item] : schedulers) check_scheduler_of(run, *item);
  for (const double fps : rates)
    if (const auto problem = find_problem(video_settings(run.plan.output, fps)))
      refuse(run, fmt::format("{}: {}", problem->field, problem->what), problem->mend);
}

}  // namespace backlot
