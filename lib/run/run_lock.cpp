#include "run/run_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"

namespace backlot {
namespace {

constexpr const char* whole_lock = "journal/lock";
constexpr const char* guard_lock = "journal/manifest.lock";
constexpr double seconds_for_guard = 600;
constexpr auto between_tries = std::chrono::milliseconds(20);

// False if another process holds it.
bool try_lock(const UniqueFd& fd, int kind, const fs::path& path) {
  int result;
  do result = ::flock(fd.get(), kind | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  if (errno == ENOLCK || errno == ENOSYS || errno == ENOTSUP)
    throw EnvironmentError(path.string(), "the file system keeps no locks",
                           "mount it with locks, or choose another folder with --output");
  throw_errno(path, "lock", errno);
}

UniqueFd open_lock(const RootedFolder& root, const fs::path& relative) {
  return root.open_file(relative, O_RDWR | O_CREAT);
}

std::string this_host() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "";
  return name.data();
}

// Who holds a lock, as its file says: "PID HOST PLAN".
struct Owner {
  std::string work;  // "2/8"; empty for the whole run
  pid_t pid = 0;     // 0: unknown
  std::string host, plan;

  std::string shown() const {
    if (pid == 0) return work;
    const std::string where = host.empty() || host == this_host() ? "" : " on " + host;
    return fmt::format("{}pid {}{}", work.empty() ? "" : work + ", ", pid, where);
  }
  bool is_dead() const {
    return pid > 0 && (host.empty() || host == this_host()) && ::kill(pid, 0) != 0 &&
           errno == ESRCH;
  }
};

Owner read_owner(const RootedFolder& root, const fs::path& lock, std::string work) {
  Owner owner{.work = std::move(work)};
  std::istringstream text(root.read(lock, 4096).value_or(""));
  if (!(text >> owner.pid)) owner.pid = 0;
  text >> owner.host >> owner.plan;
  return owner;
}

// What it says only serves messages and the check of plans: a failure to write it is no reason to
// stop.
void write_owner(const UniqueFd& fd, const std::string& plan) {
  const std::string line = fmt::format("{} {} {}\n", ::getpid(), this_host(), plan);
  if (::ftruncate(fd.get(), 0) == 0 && ::pwrite(fd.get(), line.data(), line.size(), 0) < 0) return;
}

// The shard whose lock this file is: "shard-2-of-8.lock".
std::optional<Shard> shard_of_lock(std::string_view name) {
  Shard shard;
  char rest = 0;
  if (std::sscanf(std::string(name).c_str(), "shard-%ld-of-%ld.loc%c", &shard.index, &shard.count,
                  &rest) != 3 ||
      shard.count < 1 || name != file_name_of(shard) + ".lock")
    return std::nullopt;
  return shard;
}

struct BusyShard {
  Shard shard;
  Owner owner;
};

// The shards whose locks are held, by whatever process. Take the guard first.
std::vector<BusyShard> busy_shards(const RootedFolder& root) {
  std::vector<BusyShard> busy;
  for (const auto& name : root.list("journal")) {
    const auto shard = shard_of_lock(name);
    if (!shard) continue;
    const fs::path relative = fs::path("journal") / name;
    const UniqueFd fd = root.open_file(relative, O_RDWR);
    if (fd && !try_lock(fd, LOCK_EX, root.path() / relative))
      busy.push_back({*shard, read_owner(root, relative, to_string(*shard))});
  }
  return busy;
}

// Why a claim can't be had now.
struct Refusal {
  std::vector<Owner> by;
  std::string what, mend;

  bool only_orphans() const {
    return !by.empty() &&
           std::all_of(by.begin(), by.end(), [](const Owner& o) { return o.is_dead(); });
  }
};

std::string shown(const std::vector<Owner>& owners) {
  std::vector<std::string> texts;
  for (const auto& owner : owners)
    if (const std::string text = owner.shown(); !text.empty()) texts.push_back(text);
  constexpr size_t enough = 4;
  if (texts.size() > enough) {
    texts.resize(enough);
    texts.push_back("…");
  }
  return texts.empty() ? "" : fmt::format(" ({})", fmt::join(texts, "; "));
}

Refusal refused_by(std::vector<Owner> owners, std::string_view what, std::string mend) {
  const std::string who = shown(owners);
  return {.by = std::move(owners), .what = fmt::format("{}{}", what, who), .mend = std::move(mend)};
}

std::vector<Owner> owners_of(const std::vector<BusyShard>& busy) {
  std::vector<Owner> owners;
  for (const auto& other : busy) owners.push_back(other.owner);
  return owners;
}

constexpr const char* wait_or_elsewhere =
    "wait for it to end, or choose another folder with --output";

std::optional<Refusal> refusal_beside(const std::vector<BusyShard>& busy, const RunClaim& claim) {
  if (busy.empty()) return std::nullopt;
  const int64_t count = busy.front().shard.count;
  if (!claim.shard)
    return refused_by(
        owners_of(busy), "shards work on this run",
        fmt::format("wait for them to end, or start another with --shard K/{}", count));
  for (const auto& other : busy) {
    if (other.shard == *claim.shard)
      return refused_by({other.owner}, "another backlot works on this shard",
                        "wait for it to end, or start another shard");
    if (other.shard.count != claim.shard->count)
      return refused_by(owners_of(busy), "shards of another split work on this run",
                        fmt::format("wait for them to end, or use --shard K/{}", count));
    if (!other.owner.plan.empty() && other.owner.plan != claim.plan)
      return refused_by({other.owner}, "a shard works here on another plan",
                        "start every shard with the same spec and options, or choose another "
                        "folder with --output");
  }
  return std::nullopt;
}

}  // namespace

FolderGuard::FolderGuard(const RootedFolder& root) : fd_(open_lock(root, guard_lock)) {
  const Stopwatch waiting;
  while (!try_lock(fd_, LOCK_EX, root.path() / guard_lock)) {
    if (waiting.seconds() > seconds_for_guard)
      throw EnvironmentError(
          (root.path() / guard_lock).string(),
          fmt::format("has been held for {:.0f} minutes", seconds_for_guard / 60),
          "a backlot that works on this run hangs: end it, then run again");
    std::this_thread::sleep_for(between_tries);
  }
}

std::optional<FolderGuard> FolderGuard::try_take(const RootedFolder& root) {
  UniqueFd fd = open_lock(root, guard_lock);
  if (!try_lock(fd, LOCK_EX, root.path() / guard_lock)) return std::nullopt;
  return FolderGuard(std::move(fd));
}

RunLock::RunLock(const RootedFolder& root, const RunClaim& claim,
                 std::optional<FolderGuard>& guard) {
  const auto try_claim = [&]() -> std::optional<Refusal> {
    whole_ = open_lock(root, whole_lock);
    const std::vector<BusyShard> busy = busy_shards(root);
    if (auto refusal = refusal_beside(busy, claim)) return refusal;
    if (!try_lock(whole_, claim.shard ? LOCK_SH : LOCK_EX, root.path() / whole_lock))
      return refused_by({read_owner(root, whole_lock, "")},
                        claim.shard ? "another backlot works on the whole of this run"
                                    : "another backlot works on this run",
                        wait_or_elsewhere);
    alone_ = busy.empty();
    return std::nullopt;
  };
  const Stopwatch waiting;
  while (true) {
    guard.emplace(root);
    const auto refusal = try_claim();
    if (!refusal) break;
    whole_ = UniqueFd();
    guard.reset();
    const bool orphans = refusal->only_orphans();
    if (!orphans || waiting.seconds() >= claim.seconds_for_orphans)
      throw RunFolderInUse(
          root.path().string(),
          refusal->what + (orphans ? ", or what it left behind when it was killed" : ""),
          refusal->mend);
    std::this_thread::sleep_for(between_tries);
  }
  if (claim.shard) {
    const fs::path relative = fs::path("journal") / (file_name_of(*claim.shard) + ".lock");
    shard_ = open_lock(root, relative);
    // Free just now, and nobody else takes locks while the guard is held.
    if (!try_lock(shard_, LOCK_EX, root.path() / relative))
      throw_errno(root.path() / relative, "lock", EWOULDBLOCK);
    write_owner(shard_, claim.plan);
  } else {
    write_owner(whole_, claim.plan);
  }
}

std::optional<UniqueFd> keep_out_whole_runs(const RootedFolder& root) {
  UniqueFd fd = open_lock(root, whole_lock);
  if (!try_lock(fd, LOCK_SH, root.path() / whole_lock)) return std::nullopt;
  return fd;
}

bool is_lock_name(std::string_view name) {
  return name == "lock" || name == "manifest.lock" || shard_of_lock(name);
}

}  // namespace backlot
