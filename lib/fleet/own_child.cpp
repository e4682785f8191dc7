#include "fleet/own_child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "run/rooted_folder.h"

namespace backlot {
namespace {

constexpr int look_milliseconds = 50;
// As for workers: within what rented machines give (StopSignal).
constexpr double stop_within_seconds = 4.0;

// In the child, between fork and exec: only what is safe there.
[[noreturn]] void become(char* const* argv, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  // A terminal's Ctrl-C would reach it once from there and once from us, and two are urgent.
  ::setpgid(0, 0);
  ::signal(SIGTTOU, SIG_IGN);  // it may write to that terminal nevertheless
  const int nothing = ::open("/dev/null", O_RDWR);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(nothing, STDOUT_FILENO);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(argv[0], argv);
  ::_exit(127);
}

// Killed and reaped when destroyed, unless it has ended.
class OwnChild {
 public:
  explicit OwnChild(std::vector<std::string> command) {
    std::vector<char*> argv;
    for (auto& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw_errno(command.front(), "start a process", errno);
    if (pid_ == 0) become(argv.data(), parent);
    end_fd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  ~OwnChild() {
    if (reaped_) return;
    signal(SIGKILL);
    while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
  }
  OwnChild(const OwnChild&) = delete;
  OwnChild& operator=(const OwnChild&) = delete;

  void signal(int number) const { ::kill(pid_, number); }
  bool ended_within(int milliseconds) {
    pollfd end{end_fd_.get(), POLLIN, 0};
    ::poll(&end, 1, milliseconds);
    reaped_ = reaped_ || ::waitpid(pid_, &status_, WNOHANG) == pid_;
    return reaped_;
  }
  int status() const { return status_; }  // once ended, as waitpid gives it

 private:
  pid_t pid_ = -1;
  UniqueFd end_fd_;
  bool reaped_ = false;
  int status_ = 0;
};

}  // namespace

void run_own_child(std::vector<std::string> command, const StopSignal& stop) {
  OwnChild child(std::move(command));
  for (bool asked = false, killed = false; !child.ended_within(look_milliseconds);) {
    if (!stop.requested()) continue;
    if (!asked) child.signal(stop.exit_code() == ExitCode::interrupted ? SIGINT : SIGTERM);
    asked = true;
    if (killed || !(stop.urgent() || stop.seconds_since() > stop_within_seconds)) continue;
    child.signal(SIGKILL);
    killed = true;
  }
  if (stop.requested()) throw Interrupted();
  const int status = child.status();
  if (WIFSIGNALED(status))
    throw EnvironmentError(
        "the process that makes texts",
        fmt::format("was ended by signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status))),
        "run the same command again; too little memory is the usual reason");
  if (WEXITSTATUS(status) != 0) throw ToldAlready(static_cast<ExitCode>(WEXITSTATUS(status)));
}

}  // namespace backlot
