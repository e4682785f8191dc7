#include "fleet/worker_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/text.h"

namespace backlot {
namespace {

constexpr size_t most_last_words = 300;

// In the child, between fork and exec: only what is safe there. `program` and `argv` were made
// before.
[[noreturn]] void become(const char* program, char* const* argv, int channel, int errors,
                         pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  ::setpgid(0, 0);
  const int nothing = ::open("/dev/null", O_RDWR);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(nothing, STDOUT_FILENO);
  ::dup2(errors, STDERR_FILENO);
  ::fcntl(channel, F_SETFD, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(program, argv);
  ::_exit(127);
}

std::pair<UniqueFd, UniqueFd> error_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe", "connect to a worker", errno);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

uint64_t counted_in(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string name, value; in >> name >> value;)
    if (name == key) return std::stoull(value);
  return 0;
}

}  // namespace

struct WorkerProcess::Started {
  UniqueFd channel, errors;
  pid_t pid;
};

WorkerProcess::Started WorkerProcess::start(std::vector<std::string> command) {
  auto [ours, theirs] = socket_pair();
  auto [read_errors, write_errors] = error_pipe();
  command.insert(command.end(), {"--channel", std::to_string(theirs.get())});
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw_errno(command.front(), "start a worker", errno);
  if (pid == 0)
    become(command.front().c_str(), argv.data(), theirs.get(), write_errors.get(), parent);
  return {std::move(ours), std::move(read_errors), pid};
}

bool ProcessEnd::by_request() const {
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT;
  const int code = WEXITSTATUS(status);
  return code == static_cast<int>(ExitCode::terminated) ||
         code == static_cast<int>(ExitCode::interrupted);
}

bool ProcessEnd::by_signal(int signal) const {
  return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

std::string ProcessEnd::text(const std::string& last_words) const {
  std::string out =
      WIFSIGNALED(status)
          ? fmt::format("ended by signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)))
          : fmt::format("ended with exit code {}", WEXITSTATUS(status));
  if (!last_words.empty()) out += fmt::format(", after it wrote '{}'", last_words);
  return out;
}

WorkerProcess::WorkerProcess(std::vector<std::string> command)
    : WorkerProcess(start(std::move(command))) {}

WorkerProcess::WorkerProcess(Started started)
    : channel_(std::move(started.channel)),
      errors_(std::move(started.errors)),
      end_fd_(static_cast<int>(::syscall(SYS_pidfd_open, started.pid, 0))),
      pid_(started.pid) {}

WorkerProcess::~WorkerProcess() {
  if (ended()) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

void WorkerProcess::signal(int signal) const {
  if (!end_) ::kill(pid_, signal);
}

std::optional<ProcessEnd> WorkerProcess::ended() {
  int status = 0;
  if (!end_ && ::waitpid(pid_, &status, WNOHANG) == pid_) end_ = ProcessEnd{status};
  return end_;
}

std::vector<std::string> WorkerProcess::read_errors() {
  std::array<char, 1 << 12> buffer;
  ssize_t n;
  while ((n = ::read(errors_.get(), buffer.data(), buffer.size())) > 0)
    unread_.append(buffer.data(), static_cast<size_t>(n));
  std::vector<std::string> lines;
  for (size_t end; (end = unread_.find('\n')) != std::string::npos; unread_.erase(0, end + 1))
    if (const auto line = trim(std::string_view(unread_).substr(0, end)); !line.empty())
      lines.emplace_back(line);
  if (!lines.empty()) last_words_ = lines.back().substr(0, most_last_words);
  return lines;
}

uint64_t out_of_memory_kills() {
  return counted_in("/proc/vmstat", "oom_kill") +
         counted_in("/sys/fs/cgroup/memory.events", "oom_kill");
}

}  // namespace backlot
