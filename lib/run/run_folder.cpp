#include "run/run_folder.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/sha256.h"
#include "base/time.h"
#include "run/metrics.h"
#include "run/run_lock.h"

namespace backlot {
namespace {

constexpr int format_version = 1;
constexpr const char* identity_file = "journal/run.json";

// The manifest is renewed at most this often, and so that it takes at most this share of the time:
// a million items cost a bounded number of writes.
constexpr double seconds_between_manifests = 2;
constexpr double manifest_time_share = 1.0 / 30;

// What journal/run.json holds: that this is a run folder, and what was drawn once.
struct Identity {
  uint64_t base_seed = 0;
  std::string created;
};

std::optional<Identity> read_identity(const RootedFolder& root) {
  const auto text = root.read(identity_file, 1 << 20);
  if (!text) return std::nullopt;
  const auto damaged = [&](std::string what, std::string mend) {
    return EnvironmentError((root.path() / identity_file).string(), std::move(what),
                            std::move(mend));
  };
  try {
    const Json json = Json::parse(*text);
    if (json.at("version").get<int>() > format_version)
      throw damaged("was written by a newer backlot", "use that one, or choose another folder");
    return Identity{.base_seed = json.at("base_seed"), .created = json.at("created")};
  } catch (const Json::exception&) {
    throw damaged("is damaged", "move the folder away and start the run anew");
  }
}

void write_identity(const RootedFolder& root, const Identity& identity) {
  const Json json = {{"version", format_version},
                     {"base_seed", identity.base_seed},
                     {"created", identity.created}};
  root.write_durably(identity_file, json.dump() + "\n");
}

// Empty, a run folder, or what a kill left of one before run.json was there.
void refuse_foreign_folder(const RootedFolder& root) {
  if (root.file_size(identity_file)) return;
  const auto ours = [](const std::string& name) {
    return name == "lock" || is_temporary_name(name);
  };
  const auto names = root.list("");
  const bool only_journal = names == std::vector<std::string>{"journal"};
  const auto inside = only_journal ? root.list("journal") : std::vector<std::string>{};
  if (names.empty() || (only_journal && std::all_of(inside.begin(), inside.end(), ours))) return;
  throw EnvironmentError(root.path().string(), "is not empty and not a run folder",
                         "choose another folder with --output");
}

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

void replace_all(std::string& text, const std::string& from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

uint64_t draw_seed() {
  uint64_t seed = 0;
  while (::getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed))
    if (errno != EINTR) throw_errno("getrandom", "draw a seed", errno);
  return seed >> 11;
}

}  // namespace

struct RunFolder::State {
  State(const fs::path& folder, const Plan& plan, RunInfo info)
      : root(folder), plan(plan), info(std::move(info)) {}

  void prepare(Resume resume);
  std::string without_paths(std::string text) const;
  void write_manifest();
  void renew_manifest_if_due();
  void settle(size_t place, Record record);

  RootedFolder root;
  const Plan& plan;
  RunInfo info;
  std::optional<RunLock> lock;
  std::optional<JournalWriter> journal;
  Identity identity;
  Findings findings;

  mutable std::mutex mutex;     // guards everything below, and the journal
  std::vector<Record> records;  // by place in the plan
  std::vector<bool> settled;    // done, or failed since open()
  std::vector<EngineRecord> engines;
  std::unordered_map<std::string_view, size_t> place_of;           // by id
  std::vector<std::pair<std::string, std::string>> private_paths;  // what they become
  Stopwatch since_manifest;
  double manifest_seconds = 0;  // what the last one took
  std::function<std::string()> more_metrics;
};

void RunFolder::State::prepare(Resume resume) {
  if (resume == Resume::start_over && read_identity(root)) {
    remove_run(root, read_journals(root));
    identity = {.base_seed = info.base_seed, .created = utc_now()};
    write_identity(root, identity);
  } else if (const auto stored = read_identity(root)) {
    identity = *stored;
  } else {
    identity = {.base_seed = info.base_seed, .created = utc_now()};
    write_identity(root, identity);
  }
  if (identity.base_seed != info.base_seed)
    throw EnvironmentError(root.path().string(), "another backlot began this run just now",
                           "run the same command again");

  journal.emplace(root, "main");
  JournalContents contents = read_journals(root);
  remove_temporary_files(root, plan, contents);
  Survey found = survey(root, plan, contents, *journal);
  records = std::move(found.records);
  findings = std::move(found.findings);
  engines = std::move(contents.engines);
  for (size_t i = 0; i < records.size(); ++i) {
    settled.push_back(records[i].status == ItemStatus::done);
    place_of[plan.items[i].id] = i;
  }

  private_paths.emplace_back(root.path().string() + "/", "");
  for (const auto& model : info.models)
    private_paths.emplace_back(model.path.parent_path().string() + "/", "");
  if (const char* home = std::getenv("HOME"); home && std::string_view(home).size() > 1)
    private_paths.emplace_back(home, "~");
}

// Error texts name files; what is written down must not name people's folders.
std::string RunFolder::State::without_paths(std::string text) const {
  for (const auto& [path, instead] : private_paths)
    if (path.size() > 1) replace_all(text, path, instead);
  return text;
}

void RunFolder::State::write_manifest() {
  const Stopwatch watch;
  backlot::write_manifest(root, {.plan = plan,
                                 .info = info,
                                 .records = records,
                                 .engines = engines,
                                 .leftover = findings.leftover,
                                 .started = identity.created});
  root.write_durably("metrics.prom",
                     metrics_text(plan.name, records) + (more_metrics ? more_metrics() : ""));
  manifest_seconds = watch.seconds();
  since_manifest = Stopwatch();
}

void RunFolder::State::renew_manifest_if_due() {
  const double pause = std::max(seconds_between_manifests, manifest_seconds / manifest_time_share);
  if (since_manifest.seconds() >= pause) write_manifest();
}

void RunFolder::State::settle(size_t place, Record record) {
  records[place] = std::move(record);
  settled[place] = true;
  renew_manifest_if_due();
}

RunFolder RunFolder::open(const fs::path& folder, const Plan& plan, RunInfo info, Resume resume) {
  check_plan(plan);
  make_folders(folder);
  auto state = std::make_unique<State>(folder, plan, std::move(info));
  refuse_foreign_folder(state->root);
  state->root.make_folder("journal");
  state->lock.emplace(state->root);
  state->prepare(resume);
  state->write_manifest();
  return RunFolder(std::move(state));
}

uint64_t RunFolder::base_seed(const fs::path& folder, Resume resume) {
  std::error_code absent;
  if (resume == Resume::from_disk && fs::is_directory(folder, absent))
    if (const auto identity = read_identity(RootedFolder(folder))) return identity->base_seed;
  return draw_seed();
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
    if (!state_->settled[i]) items.push_back(&state_->plan.items[i]);
  return items;
}

Totals RunFolder::totals() const {
  const std::lock_guard guard(state_->mutex);
  return totals_of(state_->records);
}

OutputFile RunFolder::write_output(const Item& item, std::string_view bytes) const {
  state_->root.write_durably(item.output, bytes);
  return {.path = item.output, .sha256 = sha256_hex(bytes), .bytes = bytes.size()};
}

void RunFolder::record_engine(const EngineRecord& engine) {
  const std::lock_guard guard(state_->mutex);
  auto& engines = state_->engines;
  if (!engines.empty() && engines.back() == engine) return;
  state_->journal->append(to_json(engine));
  engines.push_back(engine);
}

void RunFolder::record(const Item& item, Record record) {
  const std::lock_guard guard(state_->mutex);
  const size_t place = state_->place_of.at(item.id);
  record.id = item.id;
  record.index = item.index;
  record.attempts = state_->records[place].attempts + record.attempt.tries;
  for (auto& warning : record.attempt.warnings) warning = state_->without_paths(warning);
  record.error = state_->without_paths(record.error);
  state_->journal->append(to_json(record));
  state_->settle(place, std::move(record));
}

void RunFolder::adopt(const Record& record) {
  const std::lock_guard guard(state_->mutex);
  const auto place = state_->place_of.find(record.id);
  if (place != state_->place_of.end()) state_->settle(place->second, record);
}

void RunFolder::adopt(const EngineRecord& engine) {
  const std::lock_guard guard(state_->mutex);
  auto& engines = state_->engines;
  if (std::ranges::find(engines, engine) == engines.end()) engines.push_back(engine);
}

void RunFolder::adopt_journal(std::string_view name) {
  const JournalContents contents = read_journal(state_->root, name);
  for (const auto& engine : contents.engines) adopt(engine);
  const std::lock_guard guard(state_->mutex);
  for (const auto& record : contents.records) {
    const auto place = state_->place_of.find(record.id);
    if (place != state_->place_of.end() && !state_->settled[place->second])
      state_->settle(place->second, record);
  }
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

void RunFolder::write_manifest() {
  const std::lock_guard guard(state_->mutex);
  state_->write_manifest();
}

}  // namespace backlot
