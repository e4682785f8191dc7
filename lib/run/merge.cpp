#include "run/merge.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/sha256.h"
#include "run/history.h"
#include "run/identity.h"
#include "run/in_parallel.h"
#include "run/output_files.h"
#include "run/proof.h"
#include "run/report.h"
#include "run/run_folder.h"
#include "run/stored_run.h"

namespace backlot {
namespace {

// Outputs that are placed before their lines are written: what a kill lets the next merge do again.
constexpr size_t batch_items = 256;

struct Source {
  explicit Source(const fs::path& path)
      : root(path), contents(read_journals(root)), histories(contents) {}
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  RootedFolder root;
  JournalContents contents;
  Histories histories;
};

// Items decide, and their outputs; other base seeds only matter where they made other items.
void refuse_another_plan(const StoredRun& a, const fs::path& a_folder, const StoredRun& b,
                         const fs::path& b_folder) {
  const auto differ = [&](std::string what) {
    if (a.info.base_seed != b.info.base_seed)
      what = fmt::format("has another base seed ({}), and so other items", b.info.base_seed);
    throw EnvironmentError(b_folder.string(),
                           fmt::format("{} than {}", std::move(what), a_folder.string()),
                           "merge run folders that were made from the same spec and options");
  };
  if (a.plan.items.size() != b.plan.items.size())
    differ(fmt::format("has another plan ({} items)", b.plan.items.size()));
  for (size_t i = 0; i < a.plan.items.size(); ++i)
    if (a.plan.items[i].id != b.plan.items[i].id ||
        a.plan.items[i].output != b.plan.items[i].output)
      differ(fmt::format("has another item {}", b.plan.items[i].index));
}

// Copies the file's bytes; false, and nothing remains, if they have changed since they were proven.
bool copy_output(const UniqueFd& from, const std::string& sha256, const RootedFolder& to,
                 const std::string& output) {
  DurableWriter writer(to, output);
  Sha256 hash;
  const size_t size = size_t{1} << 18;
  const auto buffer = std::make_unique<char[]>(size);
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(from.get(), buffer.get(), size, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) break;
    const std::string_view bytes(buffer.get(), static_cast<size_t>(n));
    hash.update(bytes);
    writer.write(bytes);
    at += n;
  }
  if (hash.hex() != sha256) return false;
  writer.commit();
  return true;
}

// The same for a folder of files, which is put in place whole.
Proof place_folder(const RootedFolder& from, const OutputFile& folder, const RootedFolder& to,
                   const fs::path& output) {
  const Proof proof = prove(from, folder.path, folder);
  if (proof != Proof::good) return proof;
  const fs::path aside = output.parent_path() / fmt::format(".backlot-tmp-merge-{}-{}", ::getpid(),
                                                            output.filename().string());
  remove_output(to, aside);
  to.make_folder(aside);
  for (const auto& name : from.list(folder.path)) {
    const UniqueFd file = from.open_file(fs::path(folder.path) / name, O_RDONLY | O_NONBLOCK);
    const auto hash = file ? hash_of(file) : std::nullopt;
    if (!hash || (!to.link(file, aside / name) && !copy_output(file, *hash, to, aside / name))) {
      remove_output(to, aside);
      return Proof::damaged;
    }
  }
  to.sync(aside);
  remove_output(to, output);
  to.rename(aside, output);
  return Proof::good;
}

// Proves the source's file and puts it in its place; its folder is not flushed yet.
Proof place_output(const RootedFolder& from, const OutputFile& file, const RootedFolder& to,
                   const std::string& output) {
  if (from.is_folder(file.path)) return place_folder(from, file, to, output);
  const auto size = from.file_size(file.path);
  if (!size) return Proof::missing;
  const UniqueFd opened = from.open_file(file.path, O_RDONLY | O_NONBLOCK);
  if (!opened) return Proof::missing;
  if (*size != file.bytes || hash_of(opened) != file.sha256) return Proof::damaged;
  if (to.link(opened, output)) return Proof::good;
  return copy_output(opened, file.sha256, to, output) ? Proof::good : Proof::damaged;
}

class Merge {
 public:
  Merge(const std::vector<std::unique_ptr<Source>>& sources, const Plan& plan, RunFolder& target)
      : sources_(sources), plan_(plan), target_(target), root_(target.path()) {}

  MergeResult run() {
    std::vector<EngineRecord> engines;
    for (const auto& source : sources_)
      engines.insert(engines.end(), source->contents.engines.begin(),
                     source->contents.engines.end());
    target_.import_records({}, engines);
    for (const auto& source : sources_)
      for (const auto& text : source->contents.texts)
        if (!target_.text(text.id)) target_.record_text(text);
    std::vector<const Item*> batch;
    for (const auto& item : plan_.items) {
      if (target_.record_of(item).status == ItemStatus::done) continue;
      batch.push_back(&item);
      if (batch.size() == batch_items) bring(std::exchange(batch, {}));
    }
    bring(batch);
    result_.totals = target_.totals();
    return std::move(result_);
  }

 private:
  // What became of one item.
  struct Brought {
    std::optional<Record> record;  // to be written to the target's journal
    std::vector<std::string> damaged, missing;
  };

  void bring(const std::vector<const Item*>& items) {
    std::vector<Brought> brought(items.size());
    in_parallel(items.size(), [&](size_t i) { brought[i] = look_for(*items[i]); });
    std::set<fs::path> folders;
    std::vector<Record> records;
    for (size_t i = 0; i < items.size(); ++i) {
      Brought& one = brought[i];
      result_.damaged.insert(result_.damaged.end(), one.damaged.begin(), one.damaged.end());
      result_.missing.insert(result_.missing.end(), one.missing.begin(), one.missing.end());
      if (!one.record) continue;
      if (one.record->status == ItemStatus::done) {
        folders.insert(fs::path(items[i]->output).parent_path());
        ++result_.taken;
      }
      records.push_back(std::move(*one.record));
    }
    for (const auto& folder : folders) root_.sync(folder);
    target_.import_records(records, {});
  }

  Brought look_for(const Item& item) const {
    Brought brought;
    const Record known = target_.record_of(item);
    int64_t attempts = known.attempts;
    const Record* failed = nullptr;
    for (const auto& source : sources_) {
      const History& history = source->histories.of(item.id);
      attempts = std::max(attempts, history.attempts);
      if (history.failed && (!failed || failed->attempts < history.failed->attempts))
        failed = history.failed;
      for (const Record* done : history.done) {
        if (brought.record) break;
        const std::string path = (source->root.path() / done->file.path).string();
        switch (place_output(source->root, done->file, root_, item.output)) {
          case Proof::good:
            brought.record = *done;
            brought.record->file.path = item.output;
            break;
          case Proof::missing:
            brought.missing.push_back(path);
            break;
          case Proof::damaged:
            brought.damaged.push_back(path);
        }
      }
    }
    const bool news = known.status != ItemStatus::failed || known.attempts < attempts;
    if (!brought.record && failed && news) brought.record = *failed;
    if (!brought.record) return brought;
    brought.record->index = item.index;
    brought.record->attempts = attempts;
    return brought;
  }

  const std::vector<std::unique_ptr<Source>>& sources_;
  const Plan& plan_;
  RunFolder& target_;
  RootedFolder root_;
  MergeResult result_;
};

std::unique_ptr<Source> open_source(const fs::path& folder) {
  std::error_code absent;
  if (!fs::is_directory(folder, absent))
    throw EnvironmentError(folder.string(), "no such folder", "name the run folders to merge");
  if (!read_identity(RootedFolder(folder)))
    throw EnvironmentError(folder.string(), "is no run folder",
                           "name folders that 'backlot fleet-run' or 'backlot generate' made");
  return std::make_unique<Source>(folder);
}

// The plan that the folders agree on. A box of a queue has none in its own: it never knew it.
class AgreedRun {
 public:
  void hear(const RootedFolder& root, const fs::path& folder) {
    if (!root.file_size("manifest.json")) {
      const auto identity = read_identity(root);
      if (identity) without_plan_.emplace_back(folder, identity->base_seed);
      return;
    }
    StoredRun stored = read_stored_run(root);
    if (run_)
      refuse_another_plan(*run_, told_by_, stored, folder);
    else
      run_ = std::move(stored), told_by_ = folder;
  }

  StoredRun agreed() && {
    if (!run_)
      throw EnvironmentError(
          without_plan_.front().first.string(), "has no manifest.json to say what the run is",
          "merge a box's folder into its coordinator's: name that one with "
          "--output; for any other run its command, given again, writes it anew");
    for (const auto& [folder, base_seed] : without_plan_)
      if (base_seed != run_->info.base_seed)
        throw EnvironmentError(folder.string(), "belongs to another run than " + told_by_.string(),
                               "merge run folders that were made from the same spec and options");
    return std::move(*run_);
  }

 private:
  std::optional<StoredRun> run_;
  fs::path told_by_;
  std::vector<std::pair<fs::path, uint64_t>> without_plan_;
};

}  // namespace

MergeResult merge_runs(std::span<const fs::path> sources, const fs::path& target) {
  if (sources.empty())
    throw UsageError("merge", "no run folder to merge is given", "name one or more");
  std::vector<std::unique_ptr<Source>> opened;
  AgreedRun agreement;
  std::error_code absent;
  for (const auto& folder : sources) {
    auto source = open_source(folder);
    agreement.hear(source->root, folder);
    if (!fs::equivalent(folder, target, absent)) opened.push_back(std::move(source));
  }
  std::optional<uint64_t> base_seed;
  if (fs::is_directory(target, absent)) {
    const RootedFolder root(target);
    agreement.hear(root, target);
    if (const auto identity = read_identity(root)) base_seed = identity->base_seed;
  }
  StoredRun run = std::move(agreement).agreed();
  if (base_seed) run.info.base_seed = *base_seed;

  RunFolder folder = RunFolder::open(target, run.plan, run.info);
  MergeResult result = Merge(opened, run.plan, folder).run();
  folder.write_manifest();
  build_report(target);
  return result;
}

}  // namespace backlot
