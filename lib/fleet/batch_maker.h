// Makes batches of items with one model on one device, in this process.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/stop.h"
#include "engine/engine.h"
#include "fleet/batching.h"
#include "fleet/loaded_pipeline.h"
#include "fleet/memory_plan.h"
#include "fleet/output_writer.h"
#include "fleet/run_progress.h"
#include "run/result_cache.h"
#include "run/result_store.h"
#include "spec/item.h"

namespace backlot {

struct MakingOptions {
  Precision precision = Precision::automatic;
  Quantization quantization = Quantization::none;
  int64_t batch_size = 0;              // 0: as many as fit
  bool allow_lower_precision = false;  // float32 may become bfloat16 where it does not fit
  // After how many steps of a clip what there is of it is kept, 0: never; else every so often.
  std::optional<int64_t> checkpoint_steps = {};
  int64_t workers = 1;                     // processes that share the device
  std::optional<uint64_t> memory_limit;    // bytes that this one may take; else its share
  std::shared_ptr<MemoryPlanner> planner;  // null: one with these wishes, and the usual store
  // Where what is made is put, besides the store; nothing is taken from it. Must outlive the maker.
  ResultCache* cache = nullptr;
  // Called in a writing thread when it can't go on; what the next call throws says why.
  std::function<void()> write_failed = {};
};

class ClipMaker;

// Failed items are recorded, not thrown. Everything throws LoadError (a model), EnvironmentError
// (disk full, device lost), Interrupted; what was finished by then is recorded.
class BatchMaker {
 public:
  // All that is given by reference must outlive it.
  BatchMaker(LoadedPipeline& loaded, const OutputSettings& output, ResultStore& store,
             const MakingOptions& options, RunProgress& progress, const StopSignal& stop);
  ~BatchMaker();

  bool has_model_of(const Item& item) const;

  // How many of `items` like this one to make together: as asked for, else the usual number, and no
  // more than fit into memory now or were found to fit before. Loads the model.
  int64_t most_together(const Item& item, int64_t items);

  // Reads ahead the prompts of items that will be made soon, so many together, where that saves
  // loading text encoders for each batch. Returns how many of them were prepared.
  size_t look_ahead(std::span<const Item* const> coming, int64_t together);

  // Items of one batch key; more than fit are made in parts, those of video models one by one. On
  // return they may still be on their way to the disk. Out of memory, it goes on with smaller
  // batches, then decodes in tiles, then moves the text encoders out, then goes down in precision
  // if it may, then gives the item up.
  void make(const std::vector<const Item*>& batch);

  // Waits until all is on disk.
  void drain();

 private:
  // How a batch is made, and what it took to get there.
  struct Steps {
    bool tiled = false;
    int64_t tries = 1;
    std::vector<std::string> taken;  // in words, for the items' records
  };

  std::string loaded_by(const Item& item) const;
  ImagePipeline& load(const Item& item, int64_t items);
  ImagePipeline& load_as(const Item& item, const std::string& key, Precision precision,
                         bool text_encoders_out);
  DeviceMemory memory_now() const;
  Manner manner_now(const Item& item) const;
  void make(std::vector<const Item*> batch, Steps steps);
  void step_down(std::vector<const Item*> batch, Steps steps, const std::string& problem,
                 const Attempt& attempt);
  bool lower_precision(const Item& item);
  void measure(const Item& item, int64_t together, bool tiled);
  void learn_limit(const Item& item, bool tiled, int64_t limit);
  void tell_once(const std::string& about, const std::vector<std::string>& warnings);
  void hand_over(const Item& item, ImageResult result, Attempt attempt, const Steps& steps);
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
  DeviceMemory memory_;  // of the device, but for what changes: memory_now() has that
  std::shared_ptr<MemoryPlanner> planner_;
  std::map<std::string, int64_t> limits_;  // by batch key: what fitted after memory ran out
  std::set<std::string> lowered_;          // by pipeline key: those in lower precision than wished
  std::set<std::string> tiled_;            // by batch key: those that want tiles
  std::set<std::string> told_;             // warnings that were given
  std::unique_ptr<ClipMaker> clips_;       // of items that video models make
  OutputWriter writer_;
};

}  // namespace backlot
