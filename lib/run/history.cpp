#include "run/history.h"

#include <algorithm>

#include "run/output_files.h"

namespace backlot {
namespace {

void add_done(std::vector<const Record*>& done, const Record& record) {
  const auto same = std::find_if(done.begin(), done.end(), [&](const Record* other) {
    return other->file.path == record.file.path && other->file.sha256 == record.file.sha256;
  });
  if (same == done.end())
    done.push_back(&record);
  else if (record.attempts >= (*same)->attempts)
    *same = &record;
}

}  // namespace

Histories::Histories(const JournalContents& contents) {
  for (const auto& record : contents.records) {
    History& history = by_id_[record.id];
    if (record.status == ItemStatus::done)
      add_done(history.done, record);
    else if (!history.failed || record.attempts >= history.failed->attempts)
      history.failed = &record;
    history.attempts = std::max(history.attempts, record.attempts);
  }
  // Of records with as many attempts (an output that was moved) the one read last comes first.
  for (auto& [id, history] : by_id_) {
    std::reverse(history.done.begin(), history.done.end());
    std::stable_sort(history.done.begin(), history.done.end(),
                     [](const Record* a, const Record* b) { return a->attempts > b->attempts; });
  }
}

const History& Histories::of(std::string_view id) const {
  static const History none;
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? none : found->second;
}

Record untried(const Item& item) {
  Record record;
  record.id = item.id;
  record.index = item.index;
  return record;
}

Record last_known(const Item& item, const History& history) {
  Record record = untried(item);
  const auto done = std::find_if(history.done.begin(), history.done.end(),
                                 [&](const Record* r) { return r->file.path == item.output; });
  if (done != history.done.end())
    record = **done;
  else if (history.failed)
    record = *history.failed;
  record.index = item.index;
  record.attempts = history.attempts;
  return record;
}

int64_t count_done(const fs::path& folder, const std::vector<const Item*>& items) {
  std::error_code absent;
  if (!fs::is_directory(folder / "journal", absent)) return 0;
  const RootedFolder root(folder);
  const JournalContents contents = read_journals(root);
  const Histories histories(contents);
  return std::ranges::count_if(items, [&](const Item* item) {
    return std::ranges::any_of(histories.of(item->id).done, [&](const Record* record) {
      return output_bytes(root, record->file.path) == record->file.bytes;
    });
  });
}

}  // namespace backlot
