// Makes a plan's pending items on one device, in this process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/stop.h"
#include "engine/engine.h"
#include "fleet/batching.h"
#include "fleet/loaded_pipeline.h"
#include "fleet/output_writer.h"
#include "fleet/run_progress.h"
#include "run/run_folder.h"
#include "spec/item.h"

namespace backlot {

struct RunnerOptions {
  Precision precision = Precision::automatic;
  Quantization quantization = Quantization::none;
  int64_t batch_size = 0;  // 0: as many as fit
};

class Runner {
 public:
  Runner(LoadedPipeline& loaded, const Plan& plan, RunFolder& folder, const RunnerOptions& options,
         RunProgress& progress, const StopSignal& stop);

  // Makes what is pending. Failed items are recorded, not thrown. Throws LoadError (a model),
  // EnvironmentError (disk full, device lost), Interrupted; what was finished by then is recorded.
  void run();

 private:
  class Watch;  // carries the pipeline's progress on, and asks whether to stop

  std::string loaded_by(const PipelineGroup& group) const;
  void run_group(const PipelineGroup& group);
  void run_batches(ImagePipeline& pipeline, const BatchGroup& group);
  void run_batch(ImagePipeline& pipeline, std::vector<const Item*> batch, bool tiled, int64_t tries,
                 int64_t& limit);
  void hand_over(const Item& item, ImageResult result, Attempt attempt, bool tiled);
  void fail(const std::vector<const Item*>& batch, const std::string& error, Attempt attempt);
  void write(FinishedPicture finished);

  LoadedPipeline& loaded_;
  Engine& engine_;
  const Plan& plan_;
  RunFolder& folder_;
  RunnerOptions options_;
  RunProgress& progress_;
  const StopSignal& stop_;
  DeviceFacts device_;
  OutputWriter writer_;
};

}  // namespace backlot
