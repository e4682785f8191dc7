// How to make items so that they fit into a device's memory: in which precision, how many together,
// which parts of the model to hold. Known before anything is loaded, and without LibTorch.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/quantization.h"
#include "engine/engine.h"
#include "fleet/devices.h"
#include "fleet/memory_store.h"
#include "spec/item.h"
#include "weights/memory.h"

namespace backlot {

// What was asked for.
struct MemoryWish {
  Precision precision = Precision::automatic;
  Quantization quantization = Quantization::none;
  int64_t batch_size = 0;  // 0: as many as fit
  // Whether float32 may become bfloat16 where it does not fit. Precision::automatic allows it too.
  bool allow_lower_precision = false;
};

// One device as one of its workers sees it.
struct DeviceMemory {
  std::string name = "cpu";       // "cpu", "cuda:1"
  std::string kind;               // what the maker calls it: measurements hold for all of a kind
  uint64_t total = 0;             // bytes
  uint64_t free = 0;              // bytes, for all its workers together
  uint64_t held = 0;              // bytes that this worker has already: a loaded model, say
  int64_t workers = 1;            // processes that share the device
  std::optional<uint64_t> limit;  // bytes that one worker may take in all; else its share of `free`
  bool fast_bfloat16 = false;     // whether Precision::automatic means bfloat16 here
  bool own_kernels = false;       // see LoadedAs
};

// The device of that name in `devices`, the first GPU for "cuda".
DeviceMemory device_memory(const std::vector<Device>& devices, std::string_view name,
                           int64_t workers = 1);
// The same, read now.
DeviceMemory device_memory(std::string_view name, int64_t workers = 1);

// What one worker of the device may take in all, in bytes; unknown_allowance for a device that this
// machine does not have.
constexpr uint64_t unknown_allowance = std::numeric_limits<uint64_t>::max();
uint64_t allowance(const DeviceMemory& device);

// How many pictures are made together where nobody asks: on a CPU a larger batch saves little and
// delays the first result; a GPU is filled by more.
int64_t usual_batch(std::string_view device);

struct NeededMemory {          // bytes of one process
  uint64_t fixed = 0;          // the process itself, LibTorch, a GPU's context
  uint64_t networks = 0;       // weights of UNet and VAE
  uint64_t text_encoders = 0;  // weights that are held all the time
  uint64_t working = 0;        // what the batch takes besides
  bool measured = false;       // else estimated from the model's configs

  uint64_t peak() const { return fixed + networks + text_encoders + working; }
};

// How items of one batch key are made on one device.
struct BatchPlan {
  std::string device, dtype;  // "cpu"; "float32", "bfloat16", "float16"
  Precision precision = Precision::float32;
  int64_t batch = 1;   // pictures together, at least 1
  int64_t wished = 0;  // as asked for, no more than there are; 0: as many as fit
  bool vae_tiling = false;
  bool text_encoders_out = false;     // held only while prompts are encoded
  bool text_encoder_on_host = false;  // of a video model on a GPU: and then not there either
  bool fits = true;                   // false: this is the least that can be tried
  NeededMemory need;
  uint64_t allowed = 0;               // bytes that one worker may take
  std::vector<std::string> reasons;   // why it is not the plainest way, in words
  std::vector<std::string> warnings;  // what was asked for and can't be had
};

// As --dry-run --json has it.
Json to_json(const BatchPlan& plan);

// That peak as PipelineMemory::peak counts, which sees no GPU's context.
uint64_t measurable_peak(std::string_view device, const NeededMemory& need);

// A manner of making a batch.
struct Manner {
  std::string dtype = "float32";
  bool text_encoders_out = false, tiled = false;
  bool text_encoder_on_host = false;  // where text_encoders_out; video models on GPUs
};

// What decides an item's model's memory, read from its folder. Throws LoadError.
ModelSizes read_model_sizes(const Item& item);

// Plans items; keeps what it read of their models. Not safe for use from two threads at once.
class MemoryPlanner {
 public:
  using ReadSizes = std::function<ModelSizes(const Item&)>;

  explicit MemoryPlanner(MemoryWish wish, MemoryStore store = MemoryStore(),
                         ReadSizes read_sizes = read_model_sizes);

  // How to make `items` pictures like this one. `loaded`: as its model is in the device's memory
  // already, if it is; then the precision stays, and parts that are out stay out. Throws LoadError
  // if the model can't be read.
  BatchPlan plan(const Item& item, int64_t items, const DeviceMemory& device,
                 const std::optional<Manner>& loaded = std::nullopt);

  // The same for a batch of `together` pictures, whatever the wish: a plan for fewer says that they
  // don't fit.
  BatchPlan plan_batch(const Item& item, int64_t together, const DeviceMemory& device,
                       const std::optional<Manner>& loaded = std::nullopt);

  // How many pictures like this one a worker is given at a time, on a device that it shares with
  // others. What the device's memory leaves each is read once, before they load their models.
  int64_t most_together(const Item& item, const std::string& device, int64_t workers);

  // Whether pictures like this one are larger than the decoder's tiles.
  bool tiles_help(const Item& item);

  // What one process needs that makes `together` pictures like this one.
  NeededMemory need(const Item& item, const DeviceMemory& device, const Manner& manner,
                    int64_t together);

  // What measurements of such a batch are kept under.
  MemoryKey key(const Item& item, const DeviceMemory& device, const Manner& manner) const;

  const MemoryWish& wish() const { return wish_; }
  MemoryStore& store() { return store_; }

 private:
  class Search;

  const ModelSizes& sizes(const Item& item);
  NeededMemory estimate(const Item& item, const DeviceMemory& device, const Manner& manner,
                        int64_t together);

  MemoryWish wish_;
  MemoryStore store_;
  ReadSizes read_sizes_;
  std::map<std::string, ModelSizes> sizes_;                          // by pipeline_key()
  std::map<std::pair<std::string, int64_t>, DeviceMemory> devices_;  // by name and workers
};

// A plan for `items` pictures like this one, for people: how they are made, what that takes, why
// not otherwise, and if they don't fit, what would. One line each.
std::vector<std::string> memory_lines(MemoryPlanner& planner, const Item& item, int64_t items,
                                      const DeviceMemory& device);

}  // namespace backlot
