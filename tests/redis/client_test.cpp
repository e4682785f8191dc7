#include "redis/client.h"

#include "redis/with_server.h"

namespace backlot {
namespace {

using std::chrono::milliseconds;

template <typename Error>
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(RedisClient, SpeaksAndChecksTypes) {
  NEEDS_REDIS_SERVER();
  RedisServer server;
  RedisClient client(parse_redis_url(server.url()), quick());
  const std::string bytes("a\0b\r\n", 5);
  EXPECT_EQ(client.command({"SET", "k", bytes}).text(), "OK");
  EXPECT_EQ(client.command({"GET", "k"}).text(), bytes);
  EXPECT_TRUE(client.command({"GET", "none"}).nil());
  EXPECT_EQ(client.command({"STRLEN", "k"}).integer(), 5);
  EXPECT_EQ(client.command({"MGET", "k", "none"}).list(2).size(), 2u);
  EXPECT_THROW(client.command({"GET", "k"}).integer(), RedisRefused);
  EXPECT_THROW(client.command({"STRLEN", "k"}).list(), RedisRefused);
  EXPECT_THROW(client.command({"MGET", "k"}).list(2), RedisRefused);
  EXPECT_THROW(client.command({"LPUSH", "k", "1"}), RedisRefused);
  EXPECT_EQ(client.connections(), 1);
}

TEST(RedisClient, ComesBackAfterARestart) {
  NEEDS_REDIS_SERVER();
  RedisServer server;
  RedisClient client(parse_redis_url(server.url()), quick());
  client.command({"SET", "k", "v"});
  server.kill();
  EXPECT_THROW(client.command({"GET", "k"}), RedisUnavailable);
  EXPECT_THROW(client.command({"GET", "k"}), RedisUnavailable);
  server.start();
  client.connect_within(milliseconds(5000));
  EXPECT_EQ(client.command({"GET", "k"}).text(), "v");
  EXPECT_EQ(client.connections(), 2);
}

TEST(RedisClient, AnAnswerThatDoesNotComeIsNotWaitedForLong) {
  NEEDS_REDIS_SERVER();
  RedisServer server;
  auto timeouts = quick();
  timeouts.command = milliseconds(100);
  RedisClient client(parse_redis_url(server.url()), timeouts);
  const std::string message = message_of<RedisUnavailable>([&] {
    client.command({"XREAD", "BLOCK", "5000", "STREAMS", "none", "$"});
  });
  EXPECT_NE(message.find("no answer within 0.1 s"), std::string::npos) << message;
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_EQ(client.command({"PING"}).text(), "PONG");  // not the late answer
}

TEST(RedisClient, SaysWhereNobodyListens) {
  RedisClient client(parse_redis_url("redis://:secret@127.0.0.1:1"), quick());
  const std::string message =
      message_of<RedisUnavailable>([&] { client.connect_within(milliseconds(50)); });
  EXPECT_NE(message.find("redis://127.0.0.1:1: can't connect: Connection refused; "),
            std::string::npos)
      << message;
  EXPECT_EQ(message.find("secret"), std::string::npos);
}

TEST(RedisClient, LogsIn) {
  NEEDS_REDIS_SERVER();
  RedisServer server("always", "right");
  RedisClient(parse_redis_url(server.url()), quick()).command({"SET", "k", "v"});
  std::string wrong = server.url();
  wrong.replace(wrong.find("right"), 5, "wrong");
  RedisClient refused(parse_redis_url(wrong), quick());
  const std::string message =
      message_of<RedisRefused>([&] { refused.connect_within(milliseconds(5000)); });
  EXPECT_NE(message.find("WRONGPASS"), std::string::npos) << message;
  EXPECT_NE(message.find("$REDISCLI_AUTH"), std::string::npos) << message;
  EXPECT_EQ(message.find("wrong@"), std::string::npos);
  std::string none = server.url();
  none.erase(none.find(":right@"), 7);
  RedisClient unknown(parse_redis_url(none), quick());
  EXPECT_THROW(unknown.connect(), RedisRefused);
}

}  // namespace
}  // namespace backlot
