// What the journals of a run say of each item, put together.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/files.h"
#include "run/journal.h"
#include "spec/item.h"

namespace backlot {

struct History {
  // Every output that the item was recorded with, the likeliest first. Several processes write
  // journals, so no order of lines says which is the last; the file itself must.
  std::vector<const Record*> done;
  const Record* failed = nullptr;  // the latest
  int64_t attempts = 0;
};

// Keeps pointers into the contents it was made from.
class Histories {
 public:
  explicit Histories(const JournalContents& contents);

  const History& of(std::string_view id) const;  // an empty one if the journals don't know it

  auto begin() const { return by_id_.begin(); }
  auto end() const { return by_id_.end(); }

 private:
  std::unordered_map<std::string_view, History> by_id_;
};

// An item of the plan that no journal knows.
Record untried(const Item& item);

// The item's state by the journals alone. An output under another name than the plan's is none.
Record last_known(const Item& item, const History& history);

// How many of the items the folder's journals have as done, each with a file of the right size: a
// look that takes no lock, reads no output and changes nothing, so the next run may prove fewer. 0
// if it is no run folder. Throws EnvironmentError if it can't be read.
int64_t count_done(const fs::path& folder, const std::vector<const Item*>& items);

}  // namespace backlot
