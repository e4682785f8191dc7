#include "support/command.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace backlot {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

[[noreturn]] void become(const std::vector<std::string>& arguments, const CommandOptions& options,
                         const fs::path& streams) {
  const auto redirect = [&](const char* name, int flags, int target) {
    const int fd = ::open((streams / name).c_str(), flags, 0600);
    if (fd < 0 || ::dup2(fd, target) < 0) ::_exit(126);
  };
  redirect("in", O_RDONLY, STDIN_FILENO);
  redirect("out", O_WRONLY | O_CREAT, STDOUT_FILENO);
  redirect("err", O_WRONLY | O_CREAT, STDERR_FILENO);
  if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(126);
  for (const auto& [key, value] : options.environment) ::setenv(key.c_str(), value.c_str(), 1);
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments, const CommandOptions& options) {
  std::string name = (fs::temp_directory_path() / "backlot-streams-XXXXXX").string();
  if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp failed");
  streams_ = name;
  std::ofstream(streams_ / "in", std::ios::binary) << options.input;
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) become(arguments, options, streams_);
}

Process::~Process() {
  if (!reaped_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  fs::remove_all(streams_, ignored);
}

void Process::send(int signal) const { ::kill(pid_, signal); }

bool Process::running() {
  if (!reaped_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) reaped_ = true;
  return !reaped_;
}

std::string Process::errors() const { return contents(streams_ / "err"); }

std::string Process::output() const { return contents(streams_ / "out"); }

CommandResult Process::wait() {
  if (!reaped_) ::waitpid(pid_, &status_, 0);
  reaped_ = true;
  return collect(status_);
}

CommandResult Process::collect(int status) {
  CommandResult result;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.out = contents(streams_ / "out");
  result.err = contents(streams_ / "err");
  return result;
}

CommandResult run_program(const std::vector<std::string>& arguments,
                          const CommandOptions& options) {
  return Process(arguments, options).wait();
}

CommandResult backlot(const std::vector<std::string>& arguments, const CommandOptions& options) {
  std::vector<std::string> all{BACKLOT_BINARY};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run_program(all, options);
}

}  // namespace backlot
