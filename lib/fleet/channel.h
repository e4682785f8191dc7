// One end of the line between a supervisor and a worker: JSON objects, one a line, over a socket.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "run/rooted_folder.h"

namespace backlot {

// The supervisor's end: never blocks, whatever the worker does.
class PollChannel {
 public:
  explicit PollChannel(UniqueFd fd);  // makes it non-blocking

  int fd() const { return fd_.get(); }

  // Sends what the socket takes and keeps the rest for flush().
  void send(const Json& message);
  void flush();
  bool has_unsent() const { return !unsent_.empty(); }
  void close_sending();  // the worker reads an end of file

  // Whole messages that have arrived. A line that is no JSON object closes the channel: what speaks
  // there is no worker of ours any more.
  std::vector<Json> receive();
  bool closed() const { return closed_; }

 private:
  UniqueFd fd_;
  std::string unsent_, received_;
  bool closed_ = false;
};

// The worker's end: blocks.
class WorkerChannel {
 public:
  explicit WorkerChannel(UniqueFd fd) : fd_(std::move(fd)) {}

  // From any thread. Nothing happens if the supervisor is gone: the worker ends soon then.
  void send(const Json& message);

  // The next message, or nothing once the supervisor sends no more. From one thread.
  std::optional<Json> receive();

 private:
  UniqueFd fd_;
  std::mutex sending_;
  std::string received_;
};

// A connected pair of stream sockets, closed on exec. Throws EnvironmentError.
std::pair<UniqueFd, UniqueFd> socket_pair();

}  // namespace backlot
