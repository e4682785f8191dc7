// Where a Redis server is, and how to log in there.
#pragma once

#include <string>

namespace backlot {

struct RedisAddress {
  std::string host;  // empty if `socket` is given
  int port = 6379;
  std::string socket;  // path of a Unix socket
  std::string user, password;
  int database = 0;

  // For messages: never with user or password.
  std::string shown() const;
};

// redis://[USER][:PASSWORD]@HOST[:PORT][/DATABASE] or unix:PATH; parts may be percent-encoded.
// Without a password in it, $REDISCLI_AUTH is taken, as redis-cli does. Throws UsageError about
// `option`, without the password in it.
RedisAddress parse_redis_url(const std::string& url, const std::string& option = "--redis");

}  // namespace backlot
