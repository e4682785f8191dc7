// A run's folder on disk: what is done, proven from the files at every start, and kept so that a
// kill at any instant costs at most the item in hand. docs/manifest.md describes the folder.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "run/journal.h"
#include "run/manifest.h"
#include "run/result_store.h"
#include "run/rooted_folder.h"
#include "run/shard.h"
#include "run/survey.h"
#include "spec/item.h"

namespace backlot {

enum class Resume {
  from_disk,   // keep what is proven done
  start_over,  // first remove what backlot made here; foreign files stay
};

struct RunFolderOptions {
  Resume resume = Resume::from_disk;
  // This process makes the shard's items only. Shards of one split and one plan may work in a
  // folder side by side, also from several machines if the file system keeps locks.
  std::optional<Shard> shard;
  // Boxes of a queue may be writing here, also before open() and after this process is gone.
  bool boxes_write = false;
  // How long open() waits where whoever worked here was killed but one of its processes still holds
  // the lock.
  double seconds_for_orphans = 10;
};

// Safe to use from several threads at once.
class RunFolder : public ResultStore {
 public:
  // Creates the folder or resumes in it, and holds it until destroyed or the process dies. `plan`
  // must outlive the result. Writes manifest.json and metrics.prom, so that they are true from the
  // start. Throws EnvironmentError: another backlot works here, the folder holds something else, it
  // can't be written, run.json holds another base seed than `info`; SpecError if two items of the
  // plan share an id or an output, or an output would hide one of backlot's own files; UsageError
  // for a shard that would start over.
  static RunFolder open(const fs::path& folder, const Plan& plan, RunInfo info,
                        const RunFolderOptions& options = {});

  // The number that seeds left open in specs are derived from. What the folder holds, or a new one
  // below 2^53 (exact in every JSON reader), which open() stores when it comes in RunInfo.
  static uint64_t base_seed(const fs::path& folder, Resume resume = Resume::from_disk);

  // The same for shards: what the folder holds, or the number that follows from the resolved spec
  // (resolved_spec()), so that shards which start together or in separate folders agree.
  static uint64_t base_seed(const fs::path& folder, const Json& spec);

  RunFolder(RunFolder&&) noexcept;
  RunFolder& operator=(RunFolder&&) noexcept;
  ~RunFolder() override;

  const fs::path& path() const;
  const Findings& findings() const;

  // What the names of this run's journals begin with, behind which a worker process puts its own:
  // "" or "shard-2-of-8.". Also the temporary_tag for a worker's RootedFolder, without which a
  // shard that starts could not tell its dead temporary files from those of others.
  std::string journal_prefix() const;

  // The lock's descriptor, closed by exec. A worker process that keeps a duplicate open until it
  // ends makes sure that nobody else works on these items while it may still write: a supervisor
  // killed with -9 leaves its workers behind for a moment. In the child, between fork and exec:
  // fcntl(lock_fd(), F_SETFD, 0), or dup2 it to a number of your own. Never flock(LOCK_UN) it,
  // which would free it for all.
  int lock_fd() const;

  // What remains to be made, in the plan's order: neither done nor failed since open(). Items that
  // failed in an earlier run are pending again. A shard's own items only.
  std::vector<const Item*> pending() const;

  // Of this run's own items: what progress and exit codes are about. Without a shard the same as
  // totals().
  Totals own_totals() const;

  // Of the whole plan, as in the manifest; other shards' items as of the last manifest.
  Totals totals() const;

  int64_t attempts(const Item& item) const;  // over all runs

  // Recording also renews the manifest from time to time, at a cost that stays a small share of the
  // run's time.
  OutputFile write_output(const Item& item, std::string_view bytes) const override;
  fs::path place_for(const Item& item) const override;
  std::string temporary_tag() const override { return journal_prefix(); }
  void claim(const Item& item, uint64_t bytes) const override;
  void keep_checkpoint(const Item& item, std::string_view bytes) const override;
  std::optional<std::string> checkpoint(const Item& item) const override;
  void record_engine(const EngineRecord& engine) override;
  void record_done(const Item& item, const OutputFile& file, int64_t width, int64_t height,
                   Attempt attempt) override;
  void record_failed(const Item& item, std::string error, Attempt attempt) override;

  // The text of Plan::texts with that id, if it has been made. Those of other shards are as they
  // were when the folder was opened.
  std::optional<TextRecord> text(std::string_view id) const;

  // One journal line, on disk when this returns. A second text of one id replaces the first.
  void record_text(TextRecord record);

  // The same for many at once (a few hundred at most): one output written and flushed takes tens of
  // milliseconds on a plain disk, hundreds together hardly longer. Those before one that there is
  // no room for are done; any other error leaves none of them done.
  struct Finished {
    const Item* item = nullptr;
    std::string bytes;
    std::string sha256;  // of them
    int64_t width = 0, height = 0;
    Attempt attempt;
    std::optional<ClipFacts> clip = {};
  };
  std::vector<Record> write_done(std::vector<Finished> finished);

  // What another process recorded in a journal of this folder: taken over, not written again.
  // Unknown items are passed over.
  void adopt(const Record& record);
  void adopt(const EngineRecord& engine);

  // What was recorded in another run folder and whose outputs lie durably in this one, under the
  // names of the plan: written to the journal in one flush, and taken over. Engines that are known
  // already are left out.
  void import_records(std::span<const Record> records, std::span<const EngineRecord> engines);

  // The item's state, as the manifest would show it now.
  Record record_of(const Item& item) const;

  // What is known of the items, in the plan's order. `look` must not call this folder.
  void for_each_record(const std::function<void(const Record&)>& look) const;

  // From now on metrics.prom holds what `more` returns, too. It is called from any thread.
  void add_metrics(std::function<std::string()> more);

  // Removes what killed workers left half-written. Call when nobody writes: open() does it too.
  void remove_half_written();

  // Writes manifest.json and metrics.prom as of now; a shard reads the others' journals first. Call
  // at the end of a run.
  void write_manifest();

  // Takes over what other processes recorded in the journals and nobody told of, proven by its
  // file. Where a run ends in the middle of things, call it before write_manifest().
  void adopt_journals();

  // Looks, by names and sizes alone, whether all own items that are done still have their output
  // and their journal line where the run folder's path leads. Throws EnvironmentError if something
  // took them away while the run went on; those items are pending from then on.
  void insist_on_outputs();

  // For when the process is about to be ended by force, from any thread: adopt_journals() and
  // write_manifest(). Outputs in the making come to their end first. From then on whoever writes or
  // records waits for the end of the process, so that the manifest stays true.
  void write_last_manifest();

 private:
  struct State;
  explicit RunFolder(std::unique_ptr<State> state);
  void record(const Item& item, Record record);
  std::vector<Record> record(std::vector<Finished> finished);  // whose files are in place

  std::unique_ptr<State> state_;
};

}  // namespace backlot
