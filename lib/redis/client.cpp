#include "redis/client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <hiredis/hiredis.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>

namespace backlot {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

timeval timeval_of(milliseconds time) {
  return {.tv_sec = time.count() / 1000, .tv_usec = time.count() % 1000 * 1000};
}

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using RawReply = std::unique_ptr<redisReply, FreeReply>;

// A server that answers so will do what it is asked some time later: it is starting, changing its
// role, busy, or its disk is full.
bool passes(std::string_view error) {
  constexpr std::array transient{"LOADING",     "READONLY",  "BUSY",    "MASTERDOWN", "TRYAGAIN",
                                 "CLUSTERDOWN", "UNBLOCKED", "MISCONF", "NOREPLICAS"};
  const std::string_view code = error.substr(0, error.find(' '));
  return std::ranges::find(transient, code) != transient.end();
}

RedisReply value_of(const redisReply& reply) {
  switch (reply.type) {
    case REDIS_REPLY_INTEGER:
      return RedisReply(static_cast<int64_t>(reply.integer));
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:  // inside a list; at the top it was thrown before
      return RedisReply(std::string(reply.str, reply.len));
    case REDIS_REPLY_ARRAY: {
      RedisReply::List elements;
      elements.reserve(reply.elements);
      for (size_t i = 0; i < reply.elements; ++i) elements.push_back(value_of(*reply.element[i]));
      return RedisReply(std::move(elements));
    }
    default:
      return RedisReply();
  }
}

}  // namespace

void RedisClient::Close::operator()(redisContext* context) const { redisFree(context); }

RedisClient::RedisClient(RedisAddress address, RedisTimeouts timeouts)
    : address_(std::move(address)), timeouts_(timeouts), pause_(timeouts.first_pause) {}

RedisClient::~RedisClient() = default;

void RedisClient::disconnect() { context_.reset(); }

void RedisClient::fail(const std::string& what) {
  disconnect();
  last_failure_ = what;
  next_try_ = steady_clock::now() + pause_;
  pause_ = std::min(2 * pause_, timeouts_.last_pause);
  throw RedisUnavailable(address_.shown(), what, "start redis-server there, or check --redis");
}

void RedisClient::refused(const std::string& what) {
  const bool login = what.starts_with("NOAUTH") || what.starts_with("WRONGPASS") ||
                     what.starts_with("ERR invalid password") || what.starts_with("ERR AUTH") ||
                     what.starts_with("NOPERM") || what.starts_with("DENIED");
  throw RedisRefused(address_.shown(), what,
                     login ? "give the right user and password in --redis or $REDISCLI_AUTH"
                     : what.starts_with("OOM") ? "raise its maxmemory: the queue must fit into it"
                                               : "see what the server's log says of it");
}

void RedisClient::open() {
  const timeval patience = timeval_of(timeouts_.connect);
  context_.reset(address_.socket.empty()
                     ? redisConnectWithTimeout(address_.host.c_str(), address_.port, patience)
                     : redisConnectUnixWithTimeout(address_.socket.c_str(), patience));
  if (!context_) fail("no memory for a connection");
  if (context_->err) fail(fmt::format("can't connect: {}", context_->errstr));
  // Workers are started from this process, and must not hold the connection open after it.
  ::fcntl(context_->fd, F_SETFD, FD_CLOEXEC);
  redisEnableKeepAlive(context_.get());
  if (redisSetTimeout(context_.get(), timeval_of(timeouts_.command)) != REDIS_OK)
    fail("can't set the connection's timeout");
}

void RedisClient::greet() {
  if (!address_.password.empty() && address_.user.empty()) ask({"AUTH", address_.password});
  if (!address_.user.empty()) ask({"AUTH", address_.user, address_.password});
  if (address_.database != 0) ask({"SELECT", std::to_string(address_.database)});
  const std::string info = ask({"INFO", "server"}).text();
  constexpr std::string_view name = "redis_version:";
  const size_t at = info.find(name);
  int major = 0, minor = 0;
  if (at == info.npos || std::sscanf(info.c_str() + at + name.size(), "%d.%d", &major, &minor) != 2)
    refused("does not say what version of Redis it is");
  if (major < 7)
    throw RedisRefused(address_.shown(), fmt::format("is Redis {}.{}", major, minor),
                       "use Redis 7.0 or later");
  constexpr std::string_view uptime = "uptime_in_seconds:";
  const size_t up = info.find(uptime);
  server_up_ =
      steady_clock::now() -
      std::chrono::seconds(up == info.npos ? 0 : std::atoll(info.c_str() + up + uptime.size()));
}

void RedisClient::connect() {
  if (context_) return;
  if (steady_clock::now() < next_try_)
    throw RedisUnavailable(address_.shown(), last_failure_,
                           "start redis-server there, or check --redis");
  open();
  try {
    greet();
  } catch (const RedisRefused&) {
    disconnect();
    throw;
  }
  pause_ = timeouts_.first_pause;
  ++connections_;
}

void RedisClient::connect_within(milliseconds patience) {
  const auto until = steady_clock::now() + patience;
  while (true) {
    try {
      return connect();
    } catch (const RedisUnavailable&) {
      if (steady_clock::now() >= until) throw;
    }
    std::this_thread::sleep_for(
        std::clamp(std::chrono::duration_cast<milliseconds>(next_try_ - steady_clock::now()),
                   milliseconds(1), milliseconds(500)));
  }
}

RedisReply RedisClient::command(const std::vector<std::string>& arguments) {
  connect();
  return ask(arguments);
}

RedisReply RedisClient::ask(const std::vector<std::string>& arguments) {
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const auto& argument : arguments) {
    texts.push_back(argument.data());
    sizes.push_back(argument.size());
  }
  errno = 0;
  const RawReply reply(static_cast<redisReply*>(redisCommandArgv(
      context_.get(), static_cast<int>(arguments.size()), texts.data(), sizes.data())));
  if (!reply) {
    // hiredis gives a timeout as EAGAIN.
    const bool late = context_->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
    fail(late ? fmt::format("no answer within {} s",
                            static_cast<double>(timeouts_.command.count()) / 1000)
              : std::string(context_->errstr));
  }
  if (reply->type == REDIS_REPLY_ERROR) {
    const std::string error(reply->str, reply->len);
    if (passes(error)) fail(error);  // another server may answer under that name: connect anew
    refused(error);
  }
  return value_of(*reply);
}

}  // namespace backlot
