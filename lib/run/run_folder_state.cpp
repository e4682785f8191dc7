#include "run/run_folder_state.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "run/checkpoints.h"
#include "run/history.h"
#include "run/metrics.h"
#include "run/output_files.h"
#include "run/proof.h"

namespace backlot {
namespace {

// The manifest is renewed at most this often, and so that it takes at most this share of the time:
// a million items cost a bounded number of writes.
constexpr double seconds_between_manifests = 2;
constexpr double manifest_time_share = 1.0 / 30;

}  // namespace

WriteGate::Pass::Pass(WriteGate& gate) : gate_(gate) {
  std::unique_lock lock(gate_.mutex_);
  gate_.changed_.wait(lock, [&] { return !gate_.shut_; });
  ++gate_.inside_;
}

WriteGate::Pass::~Pass() {
  const std::lock_guard lock(gate_.mutex_);
  --gate_.inside_;
  gate_.changed_.notify_all();
}

void WriteGate::shut() {
  std::unique_lock lock(mutex_);
  shut_ = true;
  changed_.wait(lock, [&] { return inside_ == 0; });
}

void RunFolder::State::identify(Resume resume) {
  const auto stored = read_identity(root);
  if (stored && resume == Resume::from_disk) {
    identity = *stored;
  } else {
    if (stored) remove_run(root, read_journals(root));
    identity = {.base_seed = info.base_seed, .created = utc_now()};
    write_identity(root, identity);
  }
  if (identity.base_seed != info.base_seed)
    throw EnvironmentError(root.path().string(), "another backlot began this run just now",
                           "run the same command again");
}

void RunFolder::State::open_journal() {
  journal.emplace(root, shard ? file_name_of(*shard) : "main");
  // Outputs change names when the spec changes. Names may go from shard to shard, so that this is
  // for one process: the first of them, while the guard keeps the others waiting.
  if (!shard || !lock->alone()) return;
  const JournalContents contents = read_journals(root);
  if (!needs_moves(root, plan, contents)) return;
  findings.renamed = survey(root, plan, contents, *journal).findings.renamed;
}

void RunFolder::State::prepare() {
  JournalContents contents = read_journals(root);
  remove_temporary_files(root, plan, contents, shard, boxes_write);
  Survey found = survey(root, plan, contents, *journal, shard);
  found.findings.renamed += findings.renamed;
  findings = std::move(found.findings);
  engines = std::move(contents.engines);
  texts = texts_by_id(contents.texts);
  records = std::move(found.records);
  for (size_t i = 0; i < records.size(); ++i) {
    (owns(plan.items[i]) ? own : others).add(records[i]);
    settled.push_back(records[i].status == ItemStatus::done);
    place_of[plan.items[i].id] = i;
  }
  tidy_checkpoints();
}

// Those of items that are done, or that the plan no longer has. Others who work here have theirs.
void RunFolder::State::tidy_checkpoints() {
  if (shard || boxes_write) return;
  std::set<std::string_view> pending;
  for (size_t i = 0; i < settled.size(); ++i)
    if (!settled[i]) pending.insert(plan.items[i].id);
  remove_checkpoints(root, pending);
}

// Fills in what the run knows of a record's item, and returns its place in the plan.
size_t RunFolder::State::complete(const Item& item, Record& record) const {
  const size_t place = place_of.at(item.id);
  record.id = item.id;
  record.index = item.index;
  record.attempts = records[place].attempts + record.attempt.tries;
  for (auto& warning : record.attempt.warnings) warning = private_paths.removed_from(warning);
  record.error = private_paths.removed_from(record.error);
  return place;
}

void RunFolder::State::put(size_t place, Record record) {
  Totals& totals = owns(plan.items[place]) ? own : others;
  totals.remove(records[place]);
  totals.add(record);
  records[place] = std::move(record);
}

void RunFolder::State::settle(size_t place, Record record) {
  put(place, std::move(record));
  settled[place] = true;
  renew_manifest_if_due();
}

bool RunFolder::State::add_engine(const EngineRecord& engine) {
  if (std::ranges::find(engines, engine) != engines.end()) return false;
  engines.push_back(engine);
  return true;
}

// Other shards' items are as their journals say now; each proves its own when it starts.
void RunFolder::State::read_other_shards() {
  const JournalContents contents = read_journals(root);
  const Histories histories(contents);
  for (size_t i = 0; i < records.size(); ++i)
    if (const Item& item = plan.items[i]; !owns(item))
      put(i, last_known(item, histories.of(item.id)));
  for (const auto& engine : contents.engines) add_engine(engine);
  for (const auto& text : contents.texts) texts.try_emplace(text.id, text);
}

// Few at a time: most of what others record is told as soon as it is there. So each can be proven.
void RunFolder::State::adopt_journals() {
  const JournalContents contents = read_journals(root);
  const Histories histories(contents);
  for (size_t i = 0; i < records.size(); ++i) {
    const Item& item = plan.items[i];
    if (!owns(item) || settled[i]) continue;
    Record known = last_known(item, histories.of(item.id));
    if (known.status == ItemStatus::pending) continue;
    const bool done = known.status == ItemStatus::done;
    if (done && prove(root, item.output, known.file) != Proof::good) continue;
    put(i, std::move(known));
    settled[i] = done;
  }
  for (const auto& engine : contents.engines) add_engine(engine);
  for (const auto& text : contents.texts) texts.try_emplace(text.id, text);
}

namespace {

bool vouches_for(const History& history, const OutputFile& file) {
  return std::ranges::any_of(history.done, [&](const Record* line) {
    return line->file.path == file.path && line->file.sha256 == file.sha256;
  });
}

}  // namespace

// By the folder's path and not by its descriptor: that is where everybody else looks for it.
std::vector<std::string> RunFolder::State::drop_lost() {
  std::error_code absent;
  std::optional<RootedFolder> seen;
  if (fs::is_directory(root.path(), absent)) seen.emplace(root.path());
  const JournalContents contents = seen ? read_journals(*seen) : JournalContents();
  const Histories histories(contents);
  std::vector<std::string> lost;
  for (size_t i = 0; i < records.size(); ++i) {
    const Item& item = plan.items[i];
    if (!owns(item) || records[i].status != ItemStatus::done) continue;
    const OutputFile& file = records[i].file;
    if (seen && vouches_for(histories.of(item.id), file) &&
        output_bytes(*seen, file.path) == file.bytes)
      continue;
    lost.push_back(file.path);
    Record again = untried(item);
    again.attempts = records[i].attempts;
    put(i, std::move(again));
    settled[i] = false;
  }
  return lost;
}

void RunFolder::State::write_manifest_alone() {
  const Stopwatch watch;
  if (shard) read_other_shards();
  backlot::write_manifest(root, {.plan = plan,
                                 .info = info,
                                 .records = records,
                                 .engines = engines,
                                 .texts = texts,
                                 .leftover = findings.leftover,
                                 .started = identity.created});
  root.write_durably("metrics.prom",
                     metrics_text(plan.name, records) + (more_metrics ? more_metrics() : ""));
  manifest_seconds = watch.seconds();
  manifest_modified = root.modified("manifest.json");
  since_manifest = Stopwatch();
}

void RunFolder::State::write_manifest() {
  std::optional<FolderGuard> guard;
  if (shard) guard.emplace(root);
  write_manifest_alone();
}

void RunFolder::State::renew_manifest_if_due() {
  const double pause = std::max(seconds_between_manifests, manifest_seconds / manifest_time_share);
  if (since_manifest.seconds() < pause) return;
  if (!shard) return write_manifest_alone();
  // One of many shards does it for all: a manifest that another has renewed since, or renews now,
  // is young enough.
  since_manifest = Stopwatch();
  const auto modified = root.modified("manifest.json");
  if (std::exchange(manifest_modified, modified) != modified) return;
  if (const auto guard = FolderGuard::try_take(root)) write_manifest_alone();
}

}  // namespace backlot
