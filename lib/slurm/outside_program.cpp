#include "slurm/outside_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/files.h"
#include "base/time.h"
#include "run/rooted_folder.h"

extern char** environ;

namespace backlot {
namespace {

constexpr int look_milliseconds = 10;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe", "make", errno);
    read = UniqueFd(ends[0]);
    write = UniqueFd(ends[1]);
  }
  UniqueFd read, write;
};

std::vector<std::string> environment_without(const std::vector<std::string>& absent) {
  std::vector<std::string> kept;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    if (std::ranges::find(absent, name) == absent.end()) kept.emplace_back(text);
  }
  return kept;
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Its process id; -1 if there is no such program.
pid_t start(std::vector<std::string> arguments, const ProgramOptions& options, const Pipe& out,
            const Pipe& err) {
  std::vector<std::string> environment = environment_without(options.absent);
  const auto argv = pointers_to(arguments), envp = pointers_to(environment);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, out.write.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, err.write.get(), STDERR_FILENO);
  // Onto itself: that is how it stays open in the program alone.
  if (options.inherited >= 0)
    ::posix_spawn_file_actions_adddup2(&files, options.inherited, options.inherited);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0], &files, &attributes, argv.data(), envp.data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  if (error != 0 && error != ENOENT && error != EACCES)
    throw_errno(arguments.front(), "start", error);
  return error == 0 ? pid : -1;
}

// Takes what is there; false once the other end is closed.
bool take(const UniqueFd& fd, std::string& text) {
  std::array<char, 4096> buffer;
  const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
  if (n > 0) text.append(buffer.data(), static_cast<size_t>(n));
  return n > 0 || (n < 0 && errno == EINTR);
}

// Kills and reaps its process unless it was reaped.
class Running {
 public:
  explicit Running(pid_t pid) : pid_(pid) {}
  ~Running() { end(); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  bool ended() {
    if (pid_ >= 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = -1;
    return pid_ < 0;
  }
  void end() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status_, 0);
    pid_ = -1;
  }
  int exit_code() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1; }

 private:
  pid_t pid_;
  int status_ = -1;
};

}  // namespace

ProgramResult run_outside(const std::vector<std::string>& arguments,
                          const ProgramOptions& options) {
  ProgramResult result;
  Pipe out, err;
  const pid_t pid = start(arguments, options, out, err);
  if (pid < 0) {
    result.found = false;
    return result;
  }
  Running running(pid);
  out.write = UniqueFd();
  err.write = UniqueFd();
  const Stopwatch watch;
  // A grandchild may keep a stream open for long; the program's own end is what counts.
  std::array<pollfd, 2> streams{pollfd{out.read.get(), POLLIN, 0},
                                pollfd{err.read.get(), POLLIN, 0}};
  for (bool ended = false; !ended;) {
    ended = running.ended();
    if (!ended && options.stop && options.stop->requested()) throw Interrupted();
    if (!ended && watch.seconds() > options.seconds) {
      result.in_time = false;
      return result;
    }
    while (::poll(streams.data(), streams.size(), ended ? 0 : look_milliseconds) > 0) {
      if (streams[0].revents && !take(out.read, result.out)) streams[0].fd = -1;
      if (streams[1].revents && !take(err.read, result.err)) streams[1].fd = -1;
      if (!ended) break;
    }
  }
  result.exit_code = running.exit_code();
  return result;
}

}  // namespace backlot
