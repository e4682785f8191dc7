// Makes batches of items with one model on one device, in this process.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/stop.h"
#include "engine/engine.h"
#include "fleet/batching.h"
#include "fleet/loaded_pipeline.h"
#include "fleet/output_writer.h"
#include "fleet/run_progress.h"
#include "run/result_cache.h"
#include "run/result_store.h"
#include "spec/item.h"

namespace backlot {

struct MakingOptions {
  Precision precision = Precision::automatic;
  Quantization quantization = Quantization::none;
  int64_t batch_size = 0;  // 0: as many as fit
  // Where what is made is put, besides the store; nothing is taken from it. Must outlive the maker.
  ResultCache* cache = nullptr;
  // Called in a writing thread when it can't go on; what the next call throws says why.
  std::function<void()> write_failed = {};
};

// Failed items are recorded, not thrown. Everything throws LoadError (a model), EnvironmentError
// (disk full, device lost), Interrupted; what was finished by then is recorded.
class BatchMaker {
 public:
  // All that is given by reference must outlive it.
  BatchMaker(LoadedPipeline& loaded, const OutputSettings& output, ResultStore& store,
             const MakingOptions& options, RunProgress& progress, const StopSignal& stop);

  bool has_model_of(const Item& item) const;

  // How many of `items` like this one to make together: as asked for, else as many as fit into
  // memory now, and never more than were found to fit before. Loads the model.
  int64_t most_together(const Item& item, int64_t items);

  // Items of one batch key. On return they may still be on their way to the disk. Out of memory, it
  // goes on with smaller batches, then decodes in tiles, then gives the item up.
  void make(const std::vector<const Item*>& batch);

  // Waits until all is on disk.
  void drain();

 private:
  class Watch;  // carries the pipeline's progress on, and asks whether to stop

  std::string loaded_by(const Item& item) const;
  ImagePipeline& load(const Item& item);
  void make(ImagePipeline& pipeline, std::vector<const Item*> batch, bool tiled, int64_t tries);
  void hand_over(const Item& item, ImageResult result, Attempt attempt, bool tiled);
  void fail(const std::vector<const Item*>& batch, const std::string& error, Attempt attempt);
  void write(FinishedPicture finished);
  void write_or_tell(FinishedPicture finished);
  void put_into_cache(const FinishedPicture& finished, std::string bytes, const OutputFile& file);

  LoadedPipeline& loaded_;
  Engine& engine_;
  OutputSettings output_;
  ResultStore& store_;
  MakingOptions options_;
  RunProgress& progress_;
  const StopSignal& stop_;
  DeviceFacts device_;
  std::map<std::string, int64_t> limits_;  // by batch key: what fitted after memory ran out
  OutputWriter writer_;
};

}  // namespace backlot
