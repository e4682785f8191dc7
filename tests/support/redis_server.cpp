#include "support/redis_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "redis/client.h"

namespace backlot {
namespace {

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no free port");
  ::close(fd);
  return ntohs(address.sin_port);
}

}  // namespace

bool RedisServer::installed() { return std::system("command -v redis-server >/dev/null") == 0; }

RedisServer::RedisServer(const std::string& fsync, const std::string& password)
    : fsync_(fsync), password_(password), port_(free_port()) {
  ::signal(SIGPIPE, SIG_IGN);
  start();
}

RedisServer::~RedisServer() { kill(); }

std::string RedisServer::url() const {
  return "redis://" + (password_.empty() ? "" : ":" + password_ + "@") +
         "127.0.0.1:" + std::to_string(port_);
}

void RedisServer::start() {
  const std::string port = std::to_string(port_), folder = folder_.path().string();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int log = ::open((folder + "/log").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::execlp("redis-server", "redis-server", "--port", port.c_str(), "--bind", "127.0.0.1", "--dir",
             folder.c_str(), "--save", "", "--appendonly", "yes", "--appendfsync", fsync_.c_str(),
             "--requirepass", password_.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  RedisTimeouts quick;
  quick.first_pause = quick.last_pause = std::chrono::milliseconds(10);
  RedisClient(parse_redis_url(url()), quick).connect_within(std::chrono::seconds(20));
}

void RedisServer::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace backlot
