// A real redis-server of a test's own, in a temporary folder.
#pragma once

#include <sys/types.h>

#include <string>

#include "support/temporary_folder.h"

namespace backlot {

class RedisServer {
 public:
  static bool installed();

  // With an append-only file; `fsync` as in appendfsync.
  explicit RedisServer(const std::string& fsync = "always", const std::string& password = "");
  ~RedisServer();  // kill -9
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  std::string url() const;  // with the password

  void start();  // returns when it answers
  void kill();   // -9
  void restart() {
    kill();
    start();
  }

 private:
  TemporaryFolder folder_;
  std::string fsync_, password_;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace backlot
