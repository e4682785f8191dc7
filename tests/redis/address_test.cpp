#include "redis/address.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace backlot {
namespace {

TEST(RedisAddress, WholeUrl) {
  const auto address = parse_redis_url("redis://ann:p%40ss%3A@queue.example:6380/3");
  EXPECT_EQ(address.host, "queue.example");
  EXPECT_EQ(address.port, 6380);
  EXPECT_EQ(address.user, "ann");
  EXPECT_EQ(address.password, "p@ss:");
  EXPECT_EQ(address.database, 3);
  EXPECT_EQ(address.shown(), "redis://queue.example:6380");
}

TEST(RedisAddress, ShortForms) {
  EXPECT_EQ(parse_redis_url("redis://box").port, 6379);
  EXPECT_EQ(parse_redis_url("redis://box/").database, 0);
  const auto ipv6 = parse_redis_url("redis://:secret@[::1]:7000");
  EXPECT_EQ(ipv6.host, "::1");
  EXPECT_EQ(ipv6.port, 7000);
  EXPECT_EQ(ipv6.user, "");
  EXPECT_EQ(ipv6.password, "secret");
  EXPECT_EQ(ipv6.shown(), "redis://[::1]:7000");
  EXPECT_EQ(parse_redis_url("unix:/run/redis.sock").socket, "/run/redis.sock");
}

TEST(RedisAddress, ThePasswordMayComeFromTheEnvironment) {
  ::setenv("REDISCLI_AUTH", "quiet", 1);
  EXPECT_EQ(parse_redis_url("redis://box").password, "quiet");
  EXPECT_EQ(parse_redis_url("redis://:loud@box").password, "loud");
  ::unsetenv("REDISCLI_AUTH");
}

TEST(RedisAddress, WhatIsNoneIsRefusedWithoutShowingThePassword) {
  for (const char* url :
       {"", "box:6379", "http://:secret@box", "redis://", "redis://:secret@",
        "redis://:secret@box:0", "redis://:secret@box:66000", "redis://:secret@box:x",
        "redis://:secret@box/x", "redis://:secret%4@box", "redis://:secret@[::1",
        "redis://:secret@[::1]7", "unix:", "rediss://:secret@box"}) {
    try {
      parse_redis_url(url);
      ADD_FAILURE() << url;
    } catch (const UsageError& error) {
      EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace backlot
