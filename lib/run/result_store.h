// Where finished items go: the output first, then the line that makes it count.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "run/journal.h"
#include "spec/item.h"

namespace backlot {

// Safe to use from several threads at once. All throw EnvironmentError: disk full, not writable.
class ResultStore {
 public:
  virtual ~ResultStore() = default;

  // Puts the bytes durably under item.output. Does not make the item done: record_done does.
  virtual OutputFile write_output(const Item& item, std::string_view bytes) const = 0;

  // Notes device and library for the manifest. Call when an engine is loaded.
  virtual void record_engine(const EngineRecord& engine) = 0;

  // One journal line, on disk when this returns. `file` is write_output's.
  virtual void record_done(const Item& item, const OutputFile& file, int64_t width, int64_t height,
                           Attempt attempt) = 0;
  virtual void record_failed(const Item& item, std::string error, Attempt attempt) = 0;
};

}  // namespace backlot
