// Makes items with a video model, one at a time: clips, and single frames that are pictures.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/stop.h"
#include "base/time.h"
#include "engine/video.h"
#include "fleet/batch_maker.h"
#include "fleet/loaded_pipeline.h"
#include "fleet/memory_plan.h"
#include "fleet/run_progress.h"
#include "run/result_store.h"
#include "spec/item.h"

namespace backlot {

// What clips have in common with the pictures that the same maker makes. All must outlive it.
struct MakingPlace {
  LoadedPipeline& loaded;
  const OutputSettings& output;
  ResultStore& store;
  const MakingOptions& options;
  RunProgress& progress;
  const StopSignal& stop;
  MemoryPlanner& planner;
  std::string device;
  std::function<DeviceMemory()> memory_now;
};

class ClipMaker {
 public:
  // A frame that is an item's picture; `changed`: made otherwise than asked for, for want of
  // memory.
  using PictureSink =
      std::function<void(const Item& item, Picture picture, Attempt attempt, bool changed)>;

  // Pictures are handed to `picture`; clips are on disk and recorded when make() returns.
  ClipMaker(MakingPlace place, PictureSink picture);

  bool has_model_of(const Item& item) const;

  // Goes on from the item's checkpoint, if it has one. Out of memory, it tries again: it decodes in
  // tiles, then moves the text encoder out, then goes down in precision if it may, then gives the
  // item up. A failed item is recorded, not thrown. Throws as BatchMaker does.
  void make(const Item& item);

 private:
  // How an item is made, and what it took to get there.
  struct Steps {
    bool tiled = false;
    int64_t tries = 1;
    std::vector<std::string> taken;  // in words
  };

  std::string loaded_by(const Item& item) const;
  VideoPipeline& load(const Item& item);
  VideoPipeline& load_as(const Item& item, Precision precision, TextEncoderPlace text_encoder);
  Manner manner_now(const Item& item) const;
  void follow_plan(const Item& item, Steps& steps);
  bool made(const Item& item, Steps& steps);
  void render(const Item& item, const Steps& steps, Attempt& attempt);
  VideoCheckpoints checkpoints(const Item& item);
  bool step_down(const Item& item, Steps& steps, const std::string& problem);
  bool lower_precision(const Item& item);
  void measure(const Item& item, bool tiled);
  void learn_limit(const Item& item, bool tiled);
  void fail(const Item& item, const std::string& problem, Attempt attempt);
  void put_into_cache(const Item& item, const Attempt& attempt, const OutputFile& file,
                      int64_t width, int64_t height);

  MakingPlace place_;
  PictureSink picture_;
  std::set<std::string> lowered_;  // by pipeline key: those in lower precision than wished
  std::set<std::string> tiled_;    // by batch key: those that want tiles
  std::set<std::string> told_;     // by batch key: whose plan's warnings were given
  Stopwatch since_checkpoint_;
};

}  // namespace backlot
