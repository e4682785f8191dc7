#include "fleet/channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/error.h"

namespace backlot {
namespace {

std::string line_of(const Json& message) {
  return message.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

// Cuts the first line off `buffer`, without its newline.
std::optional<std::string> take_line(std::string& buffer) {
  const size_t end = buffer.find('\n');
  if (end == std::string::npos) return std::nullopt;
  std::string line = buffer.substr(0, end);
  buffer.erase(0, end + 1);
  return line;
}

}  // namespace

PollChannel::PollChannel(UniqueFd fd) : fd_(std::move(fd)) {
  ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
}

void PollChannel::send(const Json& message) {
  unsent_ += line_of(message);
  flush();
}

void PollChannel::flush() {
  while (!unsent_.empty()) {
    const ssize_t n = ::send(fd_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) unsent_.clear();  // gone: its end of file tells the rest
    if (n <= 0) return;
    unsent_.erase(0, static_cast<size_t>(n));
  }
}

void PollChannel::close_sending() { ::shutdown(fd_.get(), SHUT_WR); }

std::vector<Json> PollChannel::receive() {
  std::array<char, 1 << 16> buffer;
  while (!closed_) {
    const ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) closed_ = true;
    if (n > 0) received_.append(buffer.data(), static_cast<size_t>(n));
  }
  std::vector<Json> messages;
  while (const auto line = take_line(received_)) {
    Json message = Json::parse(*line, nullptr, false);
    if (!message.is_object()) {
      closed_ = true;
      break;
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

void WorkerChannel::send(const Json& message) {
  const std::lock_guard lock(sending_);
  const std::string line = line_of(message);
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t n = ::send(fd_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    sent += static_cast<size_t>(n);
  }
}

std::optional<Json> WorkerChannel::receive() {
  std::array<char, 1 << 16> buffer;
  while (true) {
    if (const auto line = take_line(received_)) {
      Json message = Json::parse(*line, nullptr, false);
      if (message.is_object()) return message;
      return std::nullopt;
    }
    const ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::nullopt;
    received_.append(buffer.data(), static_cast<size_t>(n));
  }
}

std::pair<UniqueFd, UniqueFd> socket_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw_errno("socketpair", "connect to a worker", errno);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace backlot
