// The inside of a worker process: makes what its supervisor hands it, and says how far it is.
//
// Messages, one JSON object each. To the worker:
//   {"run": {folder, journal, output, dtype, quantization, batch_size}}   what follows is for this
//   {"make": [{item, attempts}, …]}                                       items of one batch key
// From the worker:
//   {"ready": {torch, device, model, memory_bytes, notes}}   after the engine was loaded
//   {"progress": [id, percent, preview]}                     as FleetProgress::item_progress
//   {"retried": [id, why]}                                   by itself: a smaller batch, in tiles
//   {"stage": name}   {"step": [done, total, batch]}         signs of life
//   {"settled": journal line}                                it is on disk
//   {"free": null}                                           ready for the next batch
//   {"warning": text}
//   {"returned": [id, …]}                                    not made, as it was asked to stop
//   {"failed": {kind, where, what, mend}}                    the last message: it can't go on
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/stop.h"
#include "engine/engine.h"
#include "fleet/channel.h"

namespace backlot {

struct WorkerSettings {
  std::string name;    // "cpu-0"
  std::string device;  // "cpu", "cuda:1"
  int threads = 0;     // of the CPU; 0: as many as may be used
  bool previews = false;
  int64_t sharing = 1;                   // workers of the fleet that share the device
  std::optional<uint64_t> memory_limit;  // bytes that this one may take
};

// Works until the supervisor sends no more, or until a stop is asked for. `load` makes the engine.
ExitCode run_worker(WorkerChannel& channel, const WorkerSettings& settings,
                    const std::function<std::unique_ptr<Engine>(const EngineOptions&)>& load,
                    StopSignal& stop);

}  // namespace backlot
