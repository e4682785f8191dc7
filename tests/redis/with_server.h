#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "redis/client.h"
#include "support/redis_server.h"

#define NEEDS_REDIS_SERVER() \
  if (!backlot::RedisServer::installed()) GTEST_SKIP() << "redis-server is not installed"

namespace backlot {

inline RedisTimeouts quick() {
  RedisTimeouts timeouts;
  timeouts.first_pause = std::chrono::milliseconds(5);
  timeouts.last_pause = std::chrono::milliseconds(20);
  return timeouts;
}

}  // namespace backlot
