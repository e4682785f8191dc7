#include "run/run_folder.h"

#include <fmt/format.h>

#include <exception>
#include <mutex>
#include <unordered_set>

#include "base/error.h"
#include "base/sha256.h"
#include "run/checkpoints.h"
#include "run/identity.h"
#include "run/run_folder_state.h"

namespace backlot {
namespace {

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
  const WriteGate::Pass pass(state_->gate);
  state_->space->take(item.output, bytes.size());
  state_->root.write_durably(item.output, bytes);
  return {.path = item.output, .sha256 = sha256_hex(bytes), .bytes = bytes.size()};
}

fs::path RunFolder::place_for(const Item& item) const {
  state_->root.make_folder(fs::path(item.output).parent_path());
  return state_->root.path() / item.output;
}

void RunFolder::claim(const Item& item, uint64_t bytes) const {
  state_->space->take(item.output, bytes);
}

void RunFolder::keep_checkpoint(const Item& item, std::string_view bytes) const {
  backlot::keep_checkpoint(state_->root, item.id, bytes);
}

std::optional<std::string> RunFolder::checkpoint(const Item& item) const {
  return read_checkpoint(state_->root, item.id);
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
  drop_checkpoint(state_->root, item.id);
}

std::vector<Record> RunFolder::write_done(std::vector<Finished> finished) {
  const WriteGate::Pass pass(state_->gate);
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
    record.file = {each.item->output, std::move(each.sha256), each.bytes.size(), each.clip};
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
  state_->tidy_checkpoints();
  state_->write_manifest();
}

void RunFolder::adopt_journals() {
  const std::lock_guard guard(state_->mutex);
  state_->adopt_journals();
}

void RunFolder::insist_on_outputs() {
  const std::lock_guard guard(state_->mutex);
  const auto lost = state_->drop_lost();
  if (lost.empty()) return;
  throw EnvironmentError(
      path().string(),
      fmt::format("{} finished item(s) lost their output or their journal line during the run, "
                  "first {}",
                  lost.size(), lost.front()),
      "see what removes or moves files there, then run the same command again to make them");
}

void RunFolder::write_last_manifest() {
  state_->gate.shut();
  state_->mutex.lock();  // for good
  state_->adopt_journals();
  state_->write_manifest();
}

}  // namespace backlot
