#include "run/survey.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/sha256.h"

namespace backlot {
namespace {

constexpr size_t max_threads = 8;  // more would only queue at the disk

// What the journals say of one item.
struct History {
  const Record* done = nullptr;  // the latest of each kind
  const Record* failed = nullptr;
  int64_t attempts = 0;
};

using Histories = std::unordered_map<std::string_view, History>;

Histories histories_of(const JournalContents& contents) {
  Histories histories;
  for (const auto& record : contents.records) {
    History& history = histories[record.id];
    (record.status == ItemStatus::done ? history.done : history.failed) = &record;
    history.attempts = std::max(history.attempts, record.attempts);
  }
  return histories;
}

enum class Proof { good, missing, damaged };

std::optional<std::string> hash_of(const RootedFolder& root, const fs::path& relative) {
  const UniqueFd file = root.open_file(relative, O_RDONLY | O_NONBLOCK);
  if (!file) return std::nullopt;
  Sha256 hash;
  const size_t size = size_t{1} << 18;
  const auto buffer = std::make_unique<std::byte[]>(size);
  while (true) {
    const ssize_t n = ::read(file.get(), buffer.get(), size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) return hash.hex();
    hash.update(std::span<const std::byte>(buffer.get(), static_cast<size_t>(n)));
  }
}

Proof prove(const RootedFolder& root, const fs::path& relative, const OutputFile& file) {
  const auto size = root.file_size(relative);
  if (!size) return Proof::missing;
  if (*size != file.bytes || hash_of(root, relative) != file.sha256) return Proof::damaged;
  return Proof::good;
}

// A place that a file passes through when items swap names.
std::string moving_name(const Item& item) {
  return (fs::path(item.output).parent_path() / (".backlot-move-" + item.id)).string();
}

// Where an item's file lies, if it lies anywhere.
struct Place {
  Proof proof = Proof::missing;
  std::string path;
};

Place find_file(const RootedFolder& root, const Item& item, const OutputFile& file) {
  Place place;
  for (const auto& path : std::set<std::string>{file.path, item.output, moving_name(item)}) {
    const Proof proof = prove(root, path, file);
    if (proof == Proof::good && (place.proof != Proof::good || path == item.output))
      place = {proof, path};
    if (proof == Proof::damaged && path == file.path && place.proof == Proof::missing)
      place = {proof, path};
  }
  return place;
}

// Calls `work(i)` for every i below `count` on several threads; the first exception is rethrown.
template <typename Work>
void in_parallel(size_t count, Work work) {
  std::atomic<size_t> next = 0;
  std::exception_ptr failure;
  std::atomic<bool> failed = false;
  const auto loop = [&] {
    for (size_t i; !failed && (i = next++) < count;) {
      try {
        work(i);
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
  };
  const size_t threads =
      std::min({count, max_threads, std::max<size_t>(1, std::thread::hardware_concurrency())});
  {
    std::vector<std::jthread> pool;
    for (size_t t = 1; t < threads; ++t) pool.emplace_back(loop);
    loop();
  }
  if (failure) std::rethrow_exception(failure);
}

// Gives every verified file to at most one item: first to the item that should have it there.
void settle_claims(const Plan& plan, std::vector<Place>& places) {
  std::unordered_set<std::string> claimed;
  for (size_t i = 0; i < places.size(); ++i)
    if (places[i].proof == Proof::good && places[i].path == plan.items[i].output)
      claimed.insert(places[i].path);
  for (size_t i = 0; i < places.size(); ++i)
    if (places[i].proof == Proof::good && places[i].path != plan.items[i].output &&
        !claimed.insert(places[i].path).second)
      places[i] = {};
}

// Moves verified files to the names the plan gives them, whatever circles the old and new names
// form: files in another's way step aside first. At every instant each file lies in one of the
// places that find_file() looks at.
void move_to_plan(const RootedFolder& root, const Plan& plan, std::vector<Place>& places) {
  std::vector<size_t> moves;
  std::unordered_set<std::string> targets;
  std::set<std::string> folders;
  for (size_t i = 0; i < places.size(); ++i) {
    const auto& output = plan.items[i].output;
    if (places[i].proof != Proof::good || places[i].path == output) continue;
    moves.push_back(i);
    targets.insert(output);
    folders.insert(fs::path(places[i].path).parent_path().string());
    folders.insert(fs::path(output).parent_path().string());
  }
  const auto sync = [&] {
    for (const auto& folder : folders) root.sync(folder);
  };
  for (const size_t i : moves) {
    if (!targets.contains(places[i].path)) continue;
    const std::string aside = moving_name(plan.items[i]);
    root.rename(places[i].path, aside);
    places[i].path = aside;
  }
  sync();
  for (const size_t i : moves) {
    root.rename(places[i].path, plan.items[i].output);
    places[i].path = plan.items[i].output;
  }
  sync();
}

void list_leftovers(const RootedFolder& root, const Plan& plan, const Histories& histories,
                    std::vector<std::string>& leftover) {
  std::unordered_set<std::string_view> ids, outputs;
  for (const auto& item : plan.items) ids.insert(item.id), outputs.insert(item.output);
  std::set<std::string> found;
  for (const auto& [id, history] : histories) {
    if (!history.done || ids.contains(id) || outputs.contains(history.done->file.path)) continue;
    if (root.file_size(history.done->file.path) == history.done->file.bytes)
      found.insert(history.done->file.path);
  }
  leftover.assign(found.begin(), found.end());
}

}  // namespace

Survey survey(const RootedFolder& root, const Plan& plan, const JournalContents& contents,
              JournalWriter& journal) {
  const Histories histories = histories_of(contents);
  const auto history_of = [&](const Item& item) {
    const auto found = histories.find(item.id);
    return found == histories.end() ? History{} : found->second;
  };
  std::vector<Place> places(plan.items.size());
  in_parallel(places.size(), [&](size_t i) {
    const Item& item = plan.items[i];
    if (const Record* done = history_of(item).done) places[i] = find_file(root, item, done->file);
  });
  settle_claims(plan, places);
  move_to_plan(root, plan, places);

  Survey result;
  result.findings.unreadable_lines = contents.unreadable_lines;
  std::vector<Json> lines;
  for (size_t i = 0; i < places.size(); ++i) {
    const Item& item = plan.items[i];
    const History history = history_of(item);
    Record record;
    record.id = item.id;
    record.index = item.index;
    if (places[i].proof == Proof::good) {
      record = *history.done;
      record.index = item.index;
      if (record.file.path != item.output) {
        record.file.path = item.output;
        lines.push_back(to_json(record));
        ++result.findings.renamed;
      }
      ++result.findings.done;
    } else if (history.done) {
      (places[i].proof == Proof::damaged ? result.findings.damaged : result.findings.missing)
          .push_back(history.done->file.path);
    } else if (history.failed) {
      record = *history.failed;
      record.index = item.index;
    }
    record.attempts = history.attempts;
    result.records.push_back(std::move(record));
  }
  journal.append_lines(lines);
  list_leftovers(root, plan, histories, result.findings.leftover);
  return result;
}

void remove_temporary_files(const RootedFolder& root, const Plan& plan,
                            const JournalContents& contents) {
  std::set<std::string> folders = {"", "journal"};
  for (const auto& item : plan.items) folders.insert(fs::path(item.output).parent_path().string());
  for (const auto& record : contents.records)
    if (record.status == ItemStatus::done)
      folders.insert(fs::path(record.file.path).parent_path().string());
  for (const auto& folder : folders)
    for (const auto& name : root.list(folder))
      if (is_temporary_name(name)) root.remove(fs::path(folder) / name);
}

void remove_run(const RootedFolder& root, const JournalContents& contents) {
  std::set<std::string> outputs, folders;
  for (const auto& record : contents.records)
    if (record.status == ItemStatus::done) outputs.insert(record.file.path);
  // A kill between an output and its journal line leaves a file that only the manifest names.
  const Json manifest = Json::parse(root.read("manifest.json").value_or(""), nullptr, false);
  if (manifest.is_object() && manifest.contains("items") && manifest["items"].is_array())
    for (const auto& item : manifest["items"])
      if (item.is_object() && item.contains("output") && item["output"].is_string() &&
          is_output_path(item["output"].get<std::string>()))
        outputs.insert(item["output"].get<std::string>());
  for (const auto& output : outputs) {
    root.remove(output);
    folders.insert(fs::path(output).parent_path().string());
  }
  for (const auto& folder : folders) root.sync(folder);
  // Emptied folders go too, the inner ones first.
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) root.remove(*folder);
  for (const auto* name : {"report.html", "metrics.prom", "manifest.json"}) root.remove(name);
  root.sync("");
  for (const auto& name : root.list("journal"))
    if (name.ends_with(".jsonl")) root.remove(fs::path("journal") / name);
  root.sync("journal");
}

}  // namespace backlot
