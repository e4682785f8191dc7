// Where finished items go: the output first, then the line that makes it count.
#pragma once

#include <cstdint>
#include <optional>
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

  // For outputs that are written as they are made. Makes the folder of item.output and returns
  // the output's absolute path, for someone who puts it there whole or not at all, under temporary
  // names that begin as base/files.h has it and then with temporary_tag().
  virtual fs::path place_for(const Item& item) const = 0;
  virtual std::string temporary_tag() const = 0;

  // Takes the room for such an output, before it is put in place.
  virtual void claim(const Item& item, uint64_t bytes) const = 0;

  // What a later try may go on from, durable when this returns. record_done() and record_failed()
  // drop it.
  virtual void keep_checkpoint(const Item& item, std::string_view bytes) const = 0;
  virtual std::optional<std::string> checkpoint(const Item& item) const = 0;

  // Notes device and library for the manifest. Call when an engine is loaded.
  virtual void record_engine(const EngineRecord& engine) = 0;

  // One journal line, on disk when this returns. `file` is write_output's.
  virtual void record_done(const Item& item, const OutputFile& file, int64_t width, int64_t height,
                           Attempt attempt) = 0;
  virtual void record_failed(const Item& item, std::string error, Attempt attempt) = 0;
};

}  // namespace backlot
