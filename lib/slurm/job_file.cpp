#include "slurm/job_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>

#include <cerrno>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"

namespace backlot {
namespace {

constexpr int format_version = 1;
constexpr const char* file_name = "journal/slurm.json";
constexpr size_t longest_run_name = 40;

std::string draw_token() {
  uint32_t number = 0;
  while (::getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number))
    if (errno != EINTR) throw_errno("getrandom", "draw a job's name", errno);
  return fmt::format("{:08x}", number);
}

Json to_json(const SlurmRound& round) {
  return {
      {"name", round.name},           {"job", round.job.empty() ? Json() : Json(round.job)},
      {"tasks", round.tasks},         {"shards", round.shards},
      {"submitted", round.submitted}, {"ended", round.ended.empty() ? Json() : Json(round.ended)}};
}

SlurmRound round_from(const Json& json) {
  const auto text = [&](const char* key) {
    return json.at(key).is_null() ? std::string() : json.at(key).get<std::string>();
  };
  SlurmRound round;
  round.name = text("name");
  round.job = text("job");
  round.tasks = json.at("tasks");
  round.shards = json.at("shards").get<std::vector<int64_t>>();
  round.submitted = text("submitted");
  round.ended = text("ended");
  return round;
}

}  // namespace

std::string round_name(const std::string& run, const std::string& token, size_t round) {
  return fmt::format("{}-{}-{}", slug(run, longest_run_name), token, round);
}

SlurmJobFile::SlurmJobFile(const RootedFolder& root) : root_(root) {
  const auto text = root.read(file_name, uint64_t{16} << 20);
  if (!text) {
    token_ = draw_token();
    return;
  }
  const std::string path = (root.path() / file_name).string();
  try {
    const Json json = Json::parse(*text);
    if (json.at("version").get<int>() > format_version)
      throw EnvironmentError(path, "was written by a newer backlot",
                             "use that one, or choose another folder");
    token_ = json.at("token");
    for (const auto& round : json.at("rounds")) rounds_.push_back(round_from(round));
  } catch (const Json::exception&) {
    throw EnvironmentError(
        path, "is damaged",
        "make sure that none of the run's jobs goes on (squeue), then remove it");
  }
}

SlurmRound* SlurmJobFile::open_round() {
  return rounds_.empty() || !rounds_.back().ended.empty() ? nullptr : &rounds_.back();
}

SlurmRound& SlurmJobFile::begin(const std::string& run, int64_t tasks,
                                std::vector<int64_t> shards) {
  SlurmRound round;
  round.name = round_name(run, token_, rounds_.size() + 1);
  round.tasks = tasks;
  round.shards = std::move(shards);
  round.submitted = utc_now();
  rounds_.push_back(std::move(round));
  write();
  return rounds_.back();
}

void SlurmJobFile::set_job(const std::string& job) {
  rounds_.back().job = job;
  write();
}

void SlurmJobFile::end_round() {
  rounds_.back().ended = utc_now();
  write();
}

void SlurmJobFile::drop_round() {
  rounds_.pop_back();
  write();
}

void SlurmJobFile::write() const {
  Json rounds = Json::array();
  for (const auto& round : rounds_) rounds.push_back(to_json(round));
  const Json json = {{"version", format_version}, {"token", token_}, {"rounds", rounds}};
  root_.write_durably(file_name, json.dump(1) + "\n");
}

SlurmLock::SlurmLock(const RootedFolder& root, const std::string& name)
    : fd_(root.open_file("journal/" + name, O_RDWR | O_CREAT)) {
  try_again();
}

bool SlurmLock::try_again() {
  int result;
  do result = ::flock(fd_.get(), LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EWOULDBLOCK) throw_errno("journal", "lock", errno);
  held_ = result == 0;
  return held_;
}

}  // namespace backlot
