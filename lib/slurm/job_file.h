// journal/slurm.json: which array jobs were submitted for a run, written before and after each
// submission, so that whoever comes next follows the job that goes on and starts no second one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "run/rooted_folder.h"

namespace backlot {

// One array job. Task K makes shard K of `tasks`.
struct SlurmRound {
  std::string name;             // the job's name at Slurm: no other job has it
  std::string job;              // its number; "" while it is not known
  int64_t tasks = 0;            // N, the shards that the plan is divided into
  std::vector<int64_t> shards;  // K of those that were submitted
  std::string submitted;        // when; UTC
  std::string ended;            // when its end was seen; "" before
  bool operator==(const SlurmRound&) const = default;
};

// "JOB-a1b2c3d4-2": the run's name and number, and the how-manieth round it is.
std::string round_name(const std::string& run, const std::string& token, size_t round);

class SlurmJobFile {
 public:
  // Reads what is there. Throws EnvironmentError if it is damaged or from a newer backlot.
  explicit SlurmJobFile(const RootedFolder& root);

  // The array job that was begun and not seen to end; null if there is none. Its `job` may be
  // unknown: then it was perhaps submitted, perhaps not.
  SlurmRound* open_round();

  // A new round, on disk when this returns. Its submission may follow.
  SlurmRound& begin(const std::string& run, int64_t tasks, std::vector<int64_t> shards);

  void set_job(const std::string& job);  // of the open round
  void end_round();
  void drop_round();  // it was never submitted

 private:
  void write() const;

  const RootedFolder& root_;
  std::string token_;  // the same for all rounds of a run
  std::vector<SlurmRound> rounds_;
};

// A lock in journal/ that the kernel lets go of when the last process that has it open ends.
class SlurmLock {
 public:
  // `name` as "slurm.lock". Holds it, or not: see held().
  SlurmLock(const RootedFolder& root, const std::string& name);
  bool held() const { return held_; }
  bool try_again();
  int descriptor() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  bool held_ = false;
};

}  // namespace backlot
