// A connection to a Redis server that is made again when it breaks.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "redis/address.h"
#include "redis/reply.h"

struct redisContext;

namespace backlot {

struct RedisTimeouts {
  std::chrono::milliseconds connect{2000}, command{3000};
  // Between attempts to connect; doubled from the first to the last.
  std::chrono::milliseconds first_pause{100}, last_pause{5000};
};

// Never blocks for longer than the timeouts. SIGPIPE must be ignored. One thread.
class RedisClient {
 public:
  explicit RedisClient(RedisAddress address, RedisTimeouts timeouts = {});
  ~RedisClient();
  RedisClient(const RedisClient&) = delete;
  RedisClient& operator=(const RedisClient&) = delete;

  const RedisAddress& address() const { return address_; }

  // Connects unless that is done or was tried just now, logs in and checks the server's version.
  // Throws RedisUnavailable, RedisRefused (login, version).
  void connect();

  // Tries again until `patience` is over; then throws as connect() does.
  void connect_within(std::chrono::milliseconds patience);

  // The answer to one command. Throws RedisUnavailable if the server can't be asked or gave none
  // (then the command may have been carried out or not), RedisRefused if it answered an error.
  RedisReply command(const std::vector<std::string>& arguments);

  // How often a connection was made. What another connection was told has to be told again.
  int64_t connections() const { return connections_; }

  // When the server that is connected started, to the second.
  std::chrono::steady_clock::time_point server_up() const { return server_up_; }

 private:
  [[noreturn]] void fail(const std::string& what);
  [[noreturn]] void refused(const std::string& what);
  void open();
  void greet();
  RedisReply ask(const std::vector<std::string>& arguments);
  void disconnect();

  struct Close {
    void operator()(redisContext* context) const;
  };

  RedisAddress address_;
  RedisTimeouts timeouts_;
  std::unique_ptr<redisContext, Close> context_;
  int64_t connections_ = 0;
  std::chrono::steady_clock::time_point server_up_{};
  std::chrono::milliseconds pause_;
  std::chrono::steady_clock::time_point next_try_{};
  std::string last_failure_;
};

}  // namespace backlot
