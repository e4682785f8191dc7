// A worker as its supervisor sees it: a process with a line to it, that may end at any time.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "fleet/channel.h"

namespace backlot {

// How a process ended.
struct ProcessEnd {
  int status = 0;  // as waitpid gives it
  bool by_signal(int signal) const;
  bool by_request() const;  // SIGTERM or SIGINT, heeded or not
  // "ended by signal 11 (Segmentation fault)", "ended with exit code 97", with the last thing it
  // wrote to standard error.
  std::string text(const std::string& last_words) const;
};

class WorkerProcess {
 public:
  // Starts `command`, whose first word is the program; "--channel N" is added, N being the
  // descriptor of the worker's end. The worker is killed when this process ends, however it ends:
  // start it from a thread that lives as long as the process. It has a process group of its own, so
  // that what a terminal signals reaches the supervisor alone. Throws EnvironmentError.
  explicit WorkerProcess(std::vector<std::string> command);
  ~WorkerProcess();  // kills it if it still runs
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  PollChannel& channel() { return channel_; }
  pid_t pid() const { return pid_; }

  void signal(int signal) const;

  // How it ended, if it has; without waiting.
  std::optional<ProcessEnd> ended();

  // Readable once it has ended; -1 on kernels before 5.3.
  int end_fd() const { return end_fd_.get(); }

  // What it wrote to standard error since the last call, whole lines.
  std::vector<std::string> read_errors();
  const std::string& last_words() const { return last_words_; }

 private:
  struct Started;
  explicit WorkerProcess(Started started);
  static Started start(std::vector<std::string> command);

  PollChannel channel_;
  UniqueFd errors_, end_fd_;
  std::string unread_, last_words_;
  pid_t pid_ = -1;
  std::optional<ProcessEnd> end_;
};

// How many processes the kernel's out-of-memory killer has ended so far, here or in our cgroup.
uint64_t out_of_memory_kills();

}  // namespace backlot
