#include "run/run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/sha256.h"
#include "base/time.h"
#include "run/history.h"
#include "run/identity.h"
#include "run/metrics.h"
#include "run/private_paths.h"
#include "run/run_lock.h"
#include "run/space_guard.h"

namespace backlot {
namespace {

// The manifest is renewed at most this often, and so that it takes at most this share of the time:
// a million items cost a bounded number of writes.
constexpr double seconds_between_manifests = 2;
constexpr double manifest_time_share = 1.0 / 30;

// A plan that would overwrite its own outputs or backlot's files is the spec's fault.
void check_plan(const Plan& plan) {
  std::unordered_set<std::string_view> ids, outputs;
  for (const auto& item : plan.items) {
    if (!is_output_path(item.output))
      throw SpecError(item.job, fmt::format("'{}' can't be an output's name", item.output),
                      "change output.name");
    if (!outputs.insert(item.output).second)
      throw SpecError(item.job, fmt::format("two items would be written to '{}'", item.output),
                      "add {index} to output.name");
    if (!ids.insert(item.id).second)
      throw SpecError(item.job, "the same item twice", "remove one, or give it another seed");
  }
}

std::optional<uint64_t> stored_seed(const fs::path& folder) {
  std::error_code absent;
  if (!fs::is_directory(folder, absent)) return std::nullopt;
  const auto identity = read_identity(RootedFolder(folder));
  return identity ? std::optional(identity->base_seed) : std::nullopt;
}

}  // namespace

struct RunFolder::State {
  State(const fs::path& folder, const Plan& plan, RunInfo info, const RunFolderOptions& options)
      : shard(options.shard),
        boxes_write(options.boxes_write),
        root(folder, prefix()),
        plan(plan),
        info(std::move(info)),
        private_paths(root.path()) {
    for (const auto& model : this->info.models) private_paths.add(model.path.parent_path());
  }

  std::string prefix() const { return shard ? file_name_of(*shard) + "." : ""; }
  bool owns(const Item& item) const { return !shard || shard->owns(item); }

  void identify(Resume resume);
  void open_journal();
  void prepare();
  void read_other_shards();
  void write_manifest();
  void write_manifest_alone();
  void renew_manifest_if_due();
  size_t complete(const Item& item, Record& record) const;
  void put(size_t place, Record record);
  void settle(size_t place, Record record);
  bool add_engine(const EngineRecord& engine);  // false: known already

  std::optional<Shard> shard;
  bool boxes_write;
  RootedFolder root;
  const Plan& plan;
  RunInfo info;
  std::optional<RunLock> lock;
  std::optional<JournalWriter> journal;
  std::optional<SpaceGuard> space;
  Identity identity;
  Findings findings;

  mutable std::mutex mutex;     // guards everything below, and the journal
  std::vector<Record> records;  // by place in the plan
  Totals own, others;           // of them
  std::vector<bool> settled;    // done, or failed since open()
  std::vector<EngineRecord> engines;
  TextRecords texts;
  std::unordered_map<std::string_view, size_t> place_of;  // by id
  PrivatePaths private_paths;
  Stopwatch since_manifest;
  double manifest_seconds = 0;  // what the last one took
  std::optional<int64_t> manifest_modified;
  std::function<std::string()> more_metrics;
};

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

namespace {

// Names a plan among the shards that work on it together.
std::string name_of_plan(const Plan& plan) {
  Sha256 hash;
  for (const auto& item : plan.items)
    hash.update(item.id).update("\n").update(item.output).update("\n");
  return hash.hex();
}

}  // namespace

RunFolder RunFolder::open(const fs::path& folder, const Plan& plan, RunInfo info,
                          const RunFolderOptions& options) {
  if (options.shard && options.resume == Resume::start_over)
    throw UsageError(
        "--fresh",
        fmt::format("would start over the whole run, not only shard {}", to_string(*options.shard)),
        "remove the run folder or choose another with --output, then start the shards");
  check_plan(plan);
  make_folders(folder);
  auto state = std::make_unique<State>(folder, plan, std::move(info), options);
  refuse_foreign_folder(state->root);
  state->root.make_folder("journal");
  const RunClaim claim{options.shard, name_of_plan(plan), options.seconds_for_orphans};
  std::optional<FolderGuard> guard;
  state->lock.emplace(state->root, claim, guard);
  state->identify(options.resume);
  state->open_journal();
  guard.reset();
  state->prepare();
  state->space.emplace(state->root, SpaceLimits{plan.output.quota, plan.output.min_free});
  state->space->count_anew();
  state->write_manifest();
  return RunFolder(std::move(state));
}

uint64_t RunFolder::base_seed(const fs::path& folder, Resume resume) {
  return resume == Resume::from_disk ? stored_seed(folder).value_or(drawn_seed()) : drawn_seed();
}

uint64_t RunFolder::base_seed(const fs::path& folder, const Json& spec) {
  return stored_seed(folder).value_or(seed_of(spec));
}

RunFolder::RunFolder(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunFolder::RunFolder(RunFolder&&) noexcept = default;
RunFolder& RunFolder::operator=(RunFolder&&) noexcept = default;
RunFolder::~RunFolder() = default;

const fs::path& RunFolder::path() const { return state_->root.path(); }
const Findings& RunFolder::findings() const { return state_->findings; }

std::vector<const Item*> RunFolder::pending() const {
  const std::lock_guard guard(state_->mutex);
  std::vector<const Item*> items;
  for (size_t i = 0; i < state_->settled.size(); ++i)
    if (const Item& item = state_->plan.items[i]; !state_->settled[i] && state_->owns(item))
      items.push_back(&item);
  return items;
}

Totals RunFolder::totals() const {
  const std::lock_guard guard(state_->mutex);
  Totals totals = state_->own;
  return totals += state_->others;
}

Totals RunFolder::own_totals() const {
  const std::lock_guard guard(state_->mutex);
  return state_->own;
}

std::string RunFolder::journal_prefix() const { return state_->prefix(); }
int RunFolder::lock_fd() const { return state_->lock->fd(); }

OutputFile RunFolder::write_output(const Item& item, std::string_view bytes) const {
  state_->space->take(item.output, bytes.size());
  state_->root.write_durably(item.output, bytes);
  return {.path = item.output, .sha256 = sha256_hex(bytes), .bytes = bytes.size()};
}

int64_t RunFolder::attempts(const Item& item) const {
  const std::lock_guard guard(state_->mutex);
  return state_->records[state_->place_of.at(item.id)].attempts;
}

void RunFolder::record_engine(const EngineRecord& engine) {
  const std::lock_guard guard(state_->mutex);
  auto& engines = state_->engines;
  if (!engines.empty() && engines.back() == engine) return;
  state_->journal->append(to_json(engine));
  engines.push_back(engine);
}

std::optional<TextRecord> RunFolder::text(std::string_view id) const {
  const std::lock_guard guard(state_->mutex);
  const auto found = state_->texts.find(std::string(id));
  return found == state_->texts.end() ? std::nullopt : std::optional(found->second);
}

void RunFolder::record_text(TextRecord record) {
  const std::lock_guard guard(state_->mutex);
  record.note = state_->private_paths.removed_from(record.note);
  state_->journal->append(to_json(record));
  state_->texts.insert_or_assign(record.id, std::move(record));
  state_->renew_manifest_if_due();
}

void RunFolder::record(const Item& item, Record record) {
  const std::lock_guard guard(state_->mutex);
  const size_t place = state_->complete(item, record);
  state_->journal->append(to_json(record));
  state_->settle(place, std::move(record));
}

std::vector<Record> RunFolder::write_done(std::vector<Finished> finished) {
  std::vector<NewFile> files;
  std::exception_ptr no_room;
  for (const auto& each : finished) {
    try {
      state_->space->take(each.item->output, each.bytes.size());
    } catch (const EnvironmentError&) {
      no_room = std::current_exception();
      break;
    }
    files.push_back({each.item->output, each.bytes});
  }
  write_all_durably(state_->root, files);
  finished.resize(files.size());
  auto records = record(std::move(finished));
  if (no_room) std::rethrow_exception(no_room);
  return records;
}

std::vector<Record> RunFolder::record(std::vector<Finished> finished) {
  const std::lock_guard guard(state_->mutex);
  std::vector<Record> records;
  std::vector<Json> lines;
  for (auto& each : finished) {
    Record record;
    record.status = ItemStatus::done;
    record.file = {each.item->output, std::move(each.sha256), each.bytes.size()};
    record.width = each.width;
    record.height = each.height;
    record.attempt = std::move(each.attempt);
    state_->complete(*each.item, record);
    lines.push_back(to_json(record));
    records.push_back(std::move(record));
  }
  state_->journal->append_lines(lines);
  for (const auto& record : records) state_->settle(state_->place_of.at(record.id), record);
  return records;
}

void RunFolder::adopt(const Record& record) {
  const std::lock_guard guard(state_->mutex);
  const auto place = state_->place_of.find(record.id);
  if (place != state_->place_of.end()) state_->settle(place->second, record);
}

void RunFolder::adopt(const EngineRecord& engine) {
  const std::lock_guard guard(state_->mutex);
  state_->add_engine(engine);
}

void RunFolder::import_records(std::span<const Record> records,
                               std::span<const EngineRecord> engines) {
  const std::lock_guard guard(state_->mutex);
  std::vector<Json> lines;
  for (const auto& engine : engines)
    if (state_->add_engine(engine)) lines.push_back(to_json(engine));
  for (const auto& record : records) lines.push_back(to_json(record));
  state_->journal->append_lines(lines);
  for (const auto& record : records) state_->settle(state_->place_of.at(record.id), record);
}

Record RunFolder::record_of(const Item& item) const {
  const std::lock_guard guard(state_->mutex);
  return state_->records[state_->place_of.at(item.id)];
}

void RunFolder::record_done(const Item& item, const OutputFile& file, int64_t width, int64_t height,
                            Attempt attempt) {
  record(item, {.status = ItemStatus::done,
                .file = file,
                .width = width,
                .height = height,
                .attempt = std::move(attempt)});
}

void RunFolder::record_failed(const Item& item, std::string error, Attempt attempt) {
  record(item,
         {.status = ItemStatus::failed, .error = std::move(error), .attempt = std::move(attempt)});
}

void RunFolder::for_each_record(const std::function<void(const Record&)>& look) const {
  const std::lock_guard guard(state_->mutex);
  for (const Record& record : state_->records) look(record);
}

void RunFolder::add_metrics(std::function<std::string()> more) {
  const std::lock_guard guard(state_->mutex);
  state_->more_metrics = std::move(more);
}

void RunFolder::remove_half_written() {
  remove_temporary_files(state_->root, state_->plan, {}, state_->shard, state_->boxes_write);
}

void RunFolder::write_manifest() {
  const std::lock_guard guard(state_->mutex);
  state_->write_manifest();
}

}  // namespace backlot
