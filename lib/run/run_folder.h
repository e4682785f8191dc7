// A run's folder on disk: what is done, proven from the files at every start, and kept so that a
// kill at any instant costs at most the item in hand. docs/manifest.md describes the folder.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "run/journal.h"
#include "run/manifest.h"
#include "run/result_store.h"
#include "run/rooted_folder.h"
#include "run/survey.h"
#include "spec/item.h"

namespace backlot {

enum class Resume {
  from_disk,   // keep what is proven done
  start_over,  // first remove what backlot made here; foreign files stay
};

// Safe to use from several threads at once.
class RunFolder : public ResultStore {
 public:
  // Creates the folder or resumes in it, and holds it until destroyed or the process dies. `plan`
  // must outlive the result. Writes manifest.json and metrics.prom, so that they are true from the
  // start. Throws EnvironmentError: another backlot works here, the folder holds something else, it
  // can't be written, run.json holds another base seed than `info`; and SpecError if two items of
  // the plan share an id or an output, or an output would hide one of backlot's own files.
  static RunFolder open(const fs::path& folder, const Plan& plan, RunInfo info,
                        Resume resume = Resume::from_disk);

  // The number that seeds left open in specs are derived from. What the folder holds, or a new one
  // below 2^53 (exact in every JSON reader), which open() stores when it comes in RunInfo.
  static uint64_t base_seed(const fs::path& folder, Resume resume = Resume::from_disk);

  RunFolder(RunFolder&&) noexcept;
  RunFolder& operator=(RunFolder&&) noexcept;
  ~RunFolder() override;

  const fs::path& path() const;
  const Findings& findings() const;

  // What remains to be made, in the plan's order: neither done nor failed since open(). Items that
  // failed in an earlier run are pending again.
  std::vector<const Item*> pending() const;

  Totals totals() const;

  // Recording also renews the manifest from time to time, at a cost that stays a small share of the
  // run's time.
  OutputFile write_output(const Item& item, std::string_view bytes) const override;
  void record_engine(const EngineRecord& engine) override;
  void record_done(const Item& item, const OutputFile& file, int64_t width, int64_t height,
                   Attempt attempt) override;
  void record_failed(const Item& item, std::string error, Attempt attempt) override;

  // What another process recorded in a journal of this folder: taken over, not written again.
  void adopt(const Record& record);
  void adopt(const EngineRecord& engine);

  // Adopts what is in journal/NAME.jsonl of items that are not settled yet.
  void adopt_journal(std::string_view name);

  // What is known of the items, in the plan's order. `look` must not call this folder.
  void for_each_record(const std::function<void(const Record&)>& look) const;

  // From now on metrics.prom holds what `more` returns, too. It is called from any thread.
  void add_metrics(std::function<std::string()> more);

  // Writes manifest.json and metrics.prom as of now. Call at the end of a run.
  void write_manifest();

 private:
  struct State;
  explicit RunFolder(std::unique_ptr<State> state);
  void record(const Item& item, Record record);

  std::unique_ptr<State> state_;
};

}  // namespace backlot
