#include "bench/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "bench/trace.h"

extern char** environ;

namespace backlot {
namespace {

constexpr uint64_t max_log_bytes = uint64_t{16} << 20;

std::string last_line(const fs::path& log) {
  const auto lines = split(read_file(log, max_log_bytes), '\n');
  for (auto line = lines.rbegin(); line != lines.rend(); ++line)
    if (!trim(*line).empty()) return std::string(trim(*line));
  return "it said nothing";
}

}  // namespace

ScratchFolder::ScratchFolder() {
  std::error_code error;
  fs::path base = fs::temp_directory_path(error);
  if (error) base = "/tmp";
  std::string name = (base / "backlot-bench-XXXXXX").string();
  if (!::mkdtemp(name.data())) throw_errno(base, "making a scratch folder", errno);
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

Child::Child(const std::vector<std::string>& arguments, const fs::path& log) : log_(log) {
  const fs::path self = fs::read_symlink("/proc/self/exe");
  std::vector<std::string> words{self.string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log_.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  // Our own signals are blocked, for a thread that waits for them; the child begins afresh.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  started_ = trace_clock();
  const int error = ::posix_spawn(&pid_, self.c_str(), &files, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    pid_ = -1;
    throw_errno(self, "starting it again", error);
  }
}

Child::Child(Child&& other) noexcept
    : log_(std::move(other.log_)),
      pid_(std::exchange(other.pid_, -1)),
      started_(other.started_),
      status_(other.status_) {}

Child::~Child() {
  if (pid_ < 0 || ended()) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, &status_, 0);
}

bool Child::ended() {
  if (pid_ < 0) return true;
  if (::waitpid(pid_, &status_, WNOHANG) != pid_) return false;
  pid_ = -1;
  return true;
}

void Child::check() const {
  if (WIFEXITED(status_) && WEXITSTATUS(status_) == 0) return;
  if (WIFSIGNALED(status_))
    throw EnvironmentError("worker", "was ended by signal " + std::to_string(WTERMSIG(status_)),
                           "look for what ended it; too little memory is the usual reason");
  throw EnvironmentError("worker", "failed: " + last_line(log_), "mend that, then measure again");
}

void wait_for(std::vector<Child>& children, const StopSignal& stop) {
  const auto end_all = [&] { children.clear(); };
  std::vector<bool> checked(children.size(), false);
  for (size_t left = children.size(); left > 0;) {
    if (stop.requested()) {
      end_all();
      throw Interrupted();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (size_t i = 0; i < children.size(); ++i) {
      if (checked[i] || !children[i].ended()) continue;
      checked[i] = true;
      --left;
      try {
        children[i].check();
      } catch (...) {
        const auto failure = std::current_exception();
        end_all();
        std::rethrow_exception(failure);
      }
    }
  }
}

}  // namespace backlot
