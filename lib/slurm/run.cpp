#include "slurm/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "base/text.h"
#include "base/time.h"
#include "run/report.h"
#include "run/run_lock.h"
#include "slurm/client.h"
#include "slurm/endings.h"
#include "slurm/followed_records.h"
#include "slurm/job_file.h"
#include "slurm/submission.h"

namespace backlot {
namespace {

using Counts = std::map<int64_t, int64_t>;  // items by shard

// Clusters don't like to be asked every second for hours: seldom while nothing changes.
constexpr double shortest_pause = 1, longest_pause = 20, pause_growth = 1.4;
constexpr double journal_pause = 1;
constexpr const char* submission_lock = "slurm-submit.lock";
// What a file server may take to let go of the lock of a node that was lost.
constexpr double lock_patience = 120;

Counts by_shard(const std::vector<const Item*>& items, int64_t shards) {
  Counts counts;
  for (const Item* item : items) ++counts[shard_of(*item, shards)];
  return counts;
}

void remove_logs(const RootedFolder& root) {
  for (const auto& name : root.list("journal"))
    if (name.starts_with("slurm-") && name.ends_with(".log"))
      root.remove(fs::path("journal") / name);
}

class SlurmRun {
 public:
  SlurmRun(const Plan& plan, const RunInfo& info, const SlurmSettings& settings,
           FleetProgress& progress, const StopSignal& stop)
      : plan_(plan),
        info_(info),
        settings_(settings),
        progress_(progress),
        stop_(stop),
        client_(stop),
        record_(plan, progress) {}

  RunTotals run(Resume resume);

 private:
  // What a look at the whole run folder found.
  struct Look {
    Totals totals;
    std::vector<const Item*> pending;     // to be made, those that failed before among them
    std::vector<const Item*> unrecorded;  // those of them that nobody has failed at
  };

  void take_hold();
  bool find_open_round();
  void refuse_to_start_over();
  RunFolder open_when_free(Resume resume);
  Look look(Resume resume);
  RunTotals make(Resume resume);
  RunTotals end(const Look& last);

  void submit(const std::vector<int64_t>& shards);
  std::string job_number(const SlurmRound& round);
  void follow();
  bool ask_slurm();
  void compare(const std::vector<SlurmTask>& tasks);
  void wait(double seconds) const;

  std::vector<int64_t> shards_to_repeat(const Look& now);
  bool worth_repeating(int64_t shard, int64_t missing);

  const Plan& plan_;
  const RunInfo& info_;
  const SlurmSettings& settings_;
  FleetProgress& progress_;
  const StopSignal& stop_;
  SlurmClient client_;
  Stopwatch watch_;

  std::optional<RootedFolder> root_;
  std::optional<SlurmLock> lock_;
  std::optional<SlurmJobFile> file_;
  FollowedRecords record_;
  bool looked_ = false, prepared_ = false;

  SlurmRound round_;                    // the one that is or was followed; no job: none yet
  std::map<int64_t, SlurmTask> tasks_;  // of it, as last heard
  bool away_ = false;
  double pause_ = shortest_pause;

  Counts missing_;                    // by shard, when the round was submitted; none: not known
  std::map<int64_t, int> fruitless_;  // times in a row that a shard's task made nothing
  std::set<int64_t> given_up_;
  std::string why_given_up_;  // of the first
};

void SlurmRun::wait(double seconds) const {
  for (const Stopwatch watch; watch.seconds() < seconds;) {
    if (stop_.requested()) throw Interrupted();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

// From here on no other process submits or follows for this run.
void SlurmRun::take_hold() {
  if (lock_) return;
  root_.emplace(plan_.run_folder);
  lock_.emplace(*root_, "slurm.lock");
  if (!lock_->held())
    throw EnvironmentError(plan_.run_folder.string(), "another backlot follows this run's job",
                           "leave it to that one, or end it first");
  file_.emplace(*root_);
}

// True if a job of this run goes on, or ended unseen. A submission of which only the intention is
// known was perhaps carried out: sbatch holds a lock while it works, and afterwards Slurm knows the
// job by its name.
bool SlurmRun::find_open_round() {
  SlurmRound* open = file_->open_round();
  if (!open) return false;
  if (open->job.empty()) {
    for (SlurmLock submitting(*root_, submission_lock); !submitting.held(); submitting.try_again())
      wait(0.1);
    const std::string job = job_number(*open);
    if (job.empty()) {
      file_->drop_round();
      return false;
    }
    file_->set_job(job);
  }
  round_ = *file_->open_round();
  return true;
}

// The number of the job with the round's name; "" if there is none.
std::string SlurmRun::job_number(const SlurmRound& round) {
  const auto tasks = client_.tasks_named(round.name);
  const auto number = [](const SlurmTask& task) { return std::stoll(task.job); };
  return tasks.empty() ? "" : std::ranges::min_element(tasks, {}, number)->job;
}

void SlurmRun::refuse_to_start_over() {
  const auto tasks = client_.tasks_named(round_.name);
  if (!std::ranges::all_of(tasks, has_ended))
    throw UsageError("--fresh", fmt::format("Slurm's job {} of this run goes on", round_.job),
                     fmt::format("end it with 'scancel {}', or leave out --fresh", round_.job));
  file_->end_round();
  round_ = {};
}

RunFolder SlurmRun::open_when_free(Resume resume) {
  RunFolderOptions options;
  options.resume = resume;
  for (const Stopwatch waiting;; wait(1)) {
    try {
      return RunFolder::open(plan_.run_folder, plan_, info_, options);
    } catch (const RunFolderInUse&) {
      // A task that has just ended, or whose node was lost, may hold its lock for a while yet.
      if (round_.job.empty() || waiting.seconds() > lock_patience) throw;
    }
  }
}

SlurmRun::Look SlurmRun::look(Resume resume) {
  const RunFolder folder = open_when_free(resume);
  // While the folder is ours: two first starts at once come after one another.
  take_hold();
  Look found;
  found.totals = folder.totals();
  found.pending = folder.pending();
  for (const Item* item : found.pending)
    if (folder.record_of(*item).status != ItemStatus::failed) found.unrecorded.push_back(item);
  if (resume == Resume::start_over) remove_logs(*root_);
  if (!std::exchange(looked_, true) && settings_.first_look) settings_.first_look(folder);
  return found;
}

RunTotals SlurmRun::run(Resume resume) {
  client_.insist_on_commands();
  try {
    return make(resume);
  } catch (const Interrupted&) {
    if (record_.begun()) progress_.end(record_.totals(watch_.seconds()));
    const SlurmRound* open = file_ ? file_->open_round() : nullptr;
    if (open && open->name == round_.name)
      progress_.warning(
          fmt::format("Slurm's job {0} goes on; the same command follows it again, "
                      "'scancel {0}' ends it",
                      round_.job));
    throw;
  }
}

RunTotals SlurmRun::make(Resume resume) {
  std::error_code absent;
  if (fs::exists(plan_.run_folder / "journal" / "run.json", absent)) {
    take_hold();
    if (find_open_round() && resume == Resume::start_over) refuse_to_start_over();
  }
  bool first = round_.job.empty();
  if (!first) {
    if (round_.tasks != settings_.tasks)
      progress_.warning(
          fmt::format("the job that goes on has {} tasks, not {}", round_.tasks, settings_.tasks));
    record_.begin_amid(*root_);
    progress_.note(fmt::format("following job {}, submitted {}", round_.job, round_.submitted));
    follow();
  }
  while (true) {
    const Look now = look(first ? resume : Resume::from_disk);
    if (first) record_.begin(*root_, now.pending);
    std::vector<int64_t> shards;
    if (first)
      for (const auto& [shard, items] : by_shard(now.pending, settings_.tasks))
        shards.push_back(shard);
    else
      shards = shards_to_repeat(now);
    first = false;
    if (shards.empty()) return end(now);
    if (settings_.prepare && !std::exchange(prepared_, true)) settings_.prepare();
    missing_ = by_shard(now.unrecorded, settings_.tasks);
    submit(shards);
    follow();
  }
}

RunTotals SlurmRun::end(const Look& last) {
  build_report(plan_.run_folder);
  const RunTotals totals{.items = last.totals.items,
                         .reused = record_.reused(),
                         .done = std::max<int64_t>(0, last.totals.done - record_.reused()),
                         .failed = last.totals.failed,
                         .pending = last.totals.pending + last.totals.failed,
                         .seconds = watch_.seconds()};
  progress_.end(totals);
  if (!why_given_up_.empty())
    throw EnvironmentError("Slurm", why_given_up_,
                           "change --slurm-args to suit, then run the same command again");
  return totals;
}

void SlurmRun::submit(const std::vector<int64_t>& shards) {
  root_->write_durably(task_script_file, task_script(settings_));
  const bool first = round_.job.empty();
  const SlurmRound begun = file_->begin(plan_.name, settings_.tasks, shards);
  const auto arguments = sbatch_arguments(plan_.run_folder, begun, settings_);
  SlurmLock submitting(*root_, submission_lock);
  std::string job;
  while (job.empty()) {
    try {
      job = client_.submit(arguments, submitting.descriptor());
    } catch (const SlurmAway& away) {
      // The round stays open: whether Slurm took the job shows when it answers again. At the first
      // one a person is still there to be told.
      if (first) throw;
      progress_.warning(fmt::format("{}; trying again", away.what()));
      for (bool answered = false; !answered;) {
        wait(longest_pause);
        try {
          job = job_number(begun);
          answered = true;
        } catch (const SlurmAway&) {
        }
      }
    } catch (const EnvironmentError&) {
      file_->drop_round();
      throw;
    }
  }
  file_->set_job(job);
  round_ = *file_->open_round();
  progress_.note(fmt::format(
      "submitted job {}: task(s) {} of {}; logs: {}", job, array_text(shards), settings_.tasks,
      (plan_.run_folder / "journal" / ("slurm-" + job + "_*.log")).string()));
}

// Until every task of the round has ended.
void SlurmRun::follow() {
  record_.begin_round(round_);
  tasks_.clear();
  away_ = false;
  pause_ = shortest_pause;
  bool ended = false;
  for (Stopwatch since_asked; !ended;) {
    wait(journal_pause);
    progress_.tick();
    record_.take_news();
    const bool all_settled = record_.all_settled();
    if (since_asked.seconds() < pause_ && !all_settled) continue;
    ended = ask_slurm();
    // Without an answer the journals are enough, if they say that nothing is left to do.
    if (away_ && all_settled) ended = true;
    since_asked = Stopwatch();
    pause_ = std::min(pause_ * pause_growth, longest_pause);
  }
  record_.take_news();
  file_->end_round();
}

bool SlurmRun::ask_slurm() {
  std::vector<SlurmTask> tasks;
  try {
    tasks = client_.tasks_named(round_.name);
  } catch (const SlurmAway& away) {
    if (!std::exchange(away_, true))
      progress_.warning(
          fmt::format("{}: {}; its tasks go on meanwhile", away.where(), away.problem()));
    return false;
  }
  if (std::exchange(away_, false)) progress_.note("Slurm answers again");
  // A submission that seemed lost may have come through after all, beside the one after it.
  std::set<std::string> doubles;
  for (const auto& task : tasks)
    if (task.job != round_.job && !has_ended(task)) doubles.insert(task.job);
  for (const auto& job : doubles) {
    progress_.warning(fmt::format("job {} was submitted for the same tasks; cancelling it", job));
    client_.cancel(job);
  }
  std::erase_if(tasks, [&](const SlurmTask& task) { return task.job != round_.job; });
  compare(tasks);
  return std::ranges::all_of(tasks, has_ended);
}

// Tells of changes.
void SlurmRun::compare(const std::vector<SlurmTask>& tasks) {
  std::map<int64_t, SlurmTask> now;
  for (const auto& task : tasks) now[task.index] = task;
  if (now == tasks_) return;
  pause_ = shortest_pause;
  std::map<std::string, int64_t> states;
  for (const auto& [index, task] : now) {
    const bool waits = task.state == "PENDING" && task.reason != "None";
    ++states[slug(task.state) + (waits ? fmt::format(" ({})", task.reason) : "")];
    const auto before = tasks_.find(index);
    const bool held = task.reason.find("eld") != std::string::npos;
    if (held && (before == tasks_.end() || before->second.reason != task.reason))
      progress_.warning(fmt::format("task {1} is held ({2}); 'scontrol release {0}_{1}' lets it go",
                                    round_.job, index, task.reason));
  }
  std::string line;
  for (const auto& [state, count] : states)
    line += fmt::format("{}{} {}", line.empty() ? "" : ", ", count, state);
  progress_.note(fmt::format("job {}: {}", round_.job, line.empty() ? "gone" : line));
  tasks_ = std::move(now);
}

std::vector<int64_t> SlurmRun::shards_to_repeat(const Look& now) {
  std::vector<int64_t> shards;
  for (const auto& [shard, missing] : by_shard(now.unrecorded, settings_.tasks)) {
    if (given_up_.contains(shard)) continue;
    const bool was_its_task = round_.tasks == settings_.tasks &&
                              std::ranges::find(round_.shards, shard) != round_.shards.end();
    if (!was_its_task || worth_repeating(shard, missing)) shards.push_back(shard);
  }
  return shards;
}

// Tells how the task ended. One that made something may go on for as often as it takes: time limits
// and preemption are everyday things. One that made nothing may not.
bool SlurmRun::worth_repeating(int64_t shard, int64_t missing) {
  const auto ending = client_.end_of(round_.job, shard);
  const std::string words = ending_in_words(ending, telling_line(*root_, round_.job, shard));
  const auto before = missing_.find(shard);
  const bool fruitful = before == missing_.end() || missing < before->second;
  const int times = fruitless_[shard] = fruitful ? 0 : fruitless_[shard] + 1;
  const bool hopeless = ending && ending->exit_code == static_cast<int>(ExitCode::usage);
  const bool repeat = !hopeless && times < settings_.attempts;
  const std::string line = fmt::format("task {}_{} {}; {} item(s) of its shard are missing",
                                       round_.job, shard, words, missing);
  progress_.warning(line + (repeat ? ", it is submitted again" : ""));
  if (repeat) return true;
  given_up_.insert(shard);
  if (why_given_up_.empty())
    why_given_up_ = line + (times > 1 ? fmt::format(" after {} tries in a row", times) : "");
  return false;
}

}  // namespace

RunTotals run_on_slurm(const Plan& plan, const RunInfo& info, Resume resume,
                       const SlurmSettings& settings, FleetProgress& progress,
                       const StopSignal& stop) {
  return SlurmRun(plan, info, settings, progress, stop).run(resume);
}

}  // namespace backlot
