#include "run/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "run/checkpoints.h"
#include "run/history.h"
#include "run/in_parallel.h"
#include "run/output_files.h"
#include "run/proof.h"

namespace backlot {
namespace {

// A temporary file that nobody touched for so long is no write in progress.
constexpr int64_t nanoseconds_of_no_live_write = int64_t{3600} * 1'000'000'000;

// A place that a file passes through when items swap names.
std::string moving_name(const Item& item) {
  return (fs::path(item.output).parent_path() / (".backlot-move-" + item.id)).string();
}

// Where an item's file lies, if it lies anywhere, and the line that vouches for it.
struct Place {
  Proof proof = Proof::missing;
  std::string path;
  const Record* record = nullptr;
};

Place find_file(const RootedFolder& root, const Item& item, const Record& record) {
  const OutputFile& file = record.file;
  Place place{.record = &record};
  for (const auto& path : std::set<std::string>{file.path, item.output, moving_name(item)}) {
    const Proof proof = prove(root, path, file);
    if (proof == Proof::good && (place.proof != Proof::good || path == item.output))
      place = {proof, path, &record};
    if (proof == Proof::damaged && path == file.path && place.proof == Proof::missing)
      place = {proof, path, &record};
  }
  return place;
}

Place find_file(const RootedFolder& root, const Item& item, const History& history) {
  Place first;
  for (const Record* record : history.done) {
    Place place = find_file(root, item, *record);
    if (place.proof == Proof::good) return place;
    if (!first.record) first = place;
  }
  return first;
}

// A shard moves nothing: a name that is not the item's own may be another's by now.
Place find_in_place(const RootedFolder& root, const Item& item, const History& history) {
  Place first;
  for (const Record* record : history.done) {
    Place place{Proof::missing, record->file.path, record};
    if (record->file.path == item.output) place.proof = prove(root, item.output, record->file);
    if (place.proof == Proof::good) return place;
    if (!first.record) first = place;
  }
  return first;
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
    // rename(2) puts a file over a file, but no folder over one that holds something.
    if (root.is_folder(plan.items[i].output) || root.is_folder(places[i].path))
      remove_output(root, plan.items[i].output);
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
    if (ids.contains(id)) continue;
    for (const Record* done : history.done)
      if (!outputs.contains(done->file.path) &&
          output_bytes(root, done->file.path) == done->file.bytes)
        found.insert(done->file.path);
  }
  leftover.assign(found.begin(), found.end());
}

}  // namespace

Survey survey(const RootedFolder& root, const Plan& plan, const JournalContents& contents,
              JournalWriter& journal, const std::optional<Shard>& shard) {
  const Histories histories(contents);
  const auto surveyed = [&](const Item& item) { return !shard || shard->owns(item); };
  std::vector<Place> places(plan.items.size());
  in_parallel(places.size(), [&](size_t i) {
    const Item& item = plan.items[i];
    if (!surveyed(item)) return;
    const History& history = histories.of(item.id);
    places[i] = shard ? find_in_place(root, item, history) : find_file(root, item, history);
  });
  if (!shard) {
    settle_claims(plan, places);
    move_to_plan(root, plan, places);
  }

  Survey result;
  result.findings.unreadable_lines = contents.unreadable_lines;
  std::vector<Json> lines;
  for (size_t i = 0; i < places.size(); ++i) {
    const Item& item = plan.items[i];
    const History& history = histories.of(item.id);
    if (!surveyed(item)) {
      result.records.push_back(last_known(item, history));
      continue;
    }
    Record record = untried(item);
    if (places[i].proof == Proof::good) {
      record = *places[i].record;
      record.index = item.index;
      if (record.file.path != item.output) {
        record.file.path = item.output;
        lines.push_back(to_json(record));
        ++result.findings.renamed;
      }
      ++result.findings.done;
    } else if (!history.done.empty()) {
      (places[i].proof == Proof::damaged ? result.findings.damaged : result.findings.missing)
          .push_back(history.done.front()->file.path);
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

bool needs_moves(const RootedFolder& root, const Plan& plan, const JournalContents& contents) {
  const Histories histories(contents);
  return std::any_of(plan.items.begin(), plan.items.end(), [&](const Item& item) {
    const auto& done = histories.of(item.id).done;
    const auto in_place = [&](const Record* r) { return r->file.path == item.output; };
    if (std::all_of(done.begin(), done.end(), in_place)) return false;
    return std::none_of(done.begin(), done.end(), [&](const Record* r) {
      return in_place(r) && output_bytes(root, item.output) == r->file.bytes;
    });
  });
}

void remove_temporary_files(const RootedFolder& root, const Plan& plan,
                            const JournalContents& contents, const std::optional<Shard>& shard,
                            bool boxes_write) {
  std::set<std::string> folders = {"", "journal", std::string(work_folder)};
  for (const auto& item : plan.items) folders.insert(fs::path(item.output).parent_path().string());
  for (const auto& record : contents.records)
    if (record.status == ItemStatus::done)
      folders.insert(fs::path(record.file.path).parent_path().string());
  const std::string own = shard ? fmt::format(".backlot-tmp-{}.", file_name_of(*shard)) : "";
  // Just taken, and so the file system's own time.
  const std::string lock = shard ? file_name_of(*shard) + ".lock" : "lock";
  const int64_t now = root.modified(fs::path("journal") / lock).value_or(0);
  const auto abandoned = [&](const fs::path& file) {
    if (!shard && !boxes_write) return true;
    if (shard && file.filename().string().starts_with(own)) return true;
    const auto changed = root.modified(file);
    return changed && now - *changed > nanoseconds_of_no_live_write;
  };
  for (const auto& folder : folders)
    for (const auto& name : root.list(folder))
      if (is_temporary_name(name) && abandoned(fs::path(folder) / name))
        remove_output(root, fs::path(folder) / name);
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
    remove_output(root, output);
    folders.insert(fs::path(output).parent_path().string());
  }
  for (const auto& folder : folders) root.sync(folder);
  // Emptied folders go too, the inner ones first.
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) root.remove(*folder);
  remove_checkpoints(root);
  for (const auto* name : {"report.html", "metrics.prom", "manifest.json"}) root.remove(name);
  root.sync("");
  for (const auto& name : root.list("journal"))
    if (name.ends_with(".jsonl")) root.remove(fs::path("journal") / name);
  root.sync("journal");
}

}  // namespace backlot
