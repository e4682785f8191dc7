#include "redis/address.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace backlot {
namespace {

constexpr const char* mend = "give redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE] or unix:PATH";

std::optional<int> number(std::string_view text, int most) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > most)
    return std::nullopt;
  return value;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(16 * high + low);
    i += 2;
  }
  return out;
}

// What went wrong, without the text: it may hold a password.
[[noreturn]] void refuse(const std::string& option, std::string what) {
  throw UsageError(option, std::move(what), mend);
}

void read_login(RedisAddress& address, std::string_view login, const std::string& option) {
  const size_t colon = login.find(':');
  const auto user = percent_decoded(login.substr(0, colon));
  const auto password = percent_decoded(colon == login.npos ? "" : login.substr(colon + 1));
  if (!user || !password) refuse(option, "has a '%' before '@' that encodes nothing");
  address.user = *user;
  address.password = *password;
}

void read_host(RedisAddress& address, std::string_view text, const std::string& option) {
  size_t colon = text.rfind(':');
  if (text.starts_with('[')) {  // an IPv6 address
    const size_t close = text.find(']');
    if (close == text.npos) refuse(option, "has a '[' without a ']'");
    address.host = text.substr(1, close - 1);
    colon = close + 1 < text.size() ? close + 1 : text.npos;
    if (colon != text.npos && text[colon] != ':') refuse(option, "has text after ']'");
  } else {
    address.host = text.substr(0, colon);
  }
  if (address.host.empty()) refuse(option, "names no host");
  if (colon == text.npos) return;
  const auto port = number(text.substr(colon + 1), 65535);
  if (!port || *port == 0) refuse(option, "names no port between 1 and 65535");
  address.port = *port;
}

}  // namespace

std::string RedisAddress::shown() const {
  if (!socket.empty()) return "unix:" + socket;
  const bool is_ipv6 = host.find(':') != host.npos;
  return fmt::format("redis://{}:{}", is_ipv6 ? "[" + host + "]" : host, port);
}

RedisAddress parse_redis_url(const std::string& url, const std::string& option) {
  RedisAddress address;
  if (url.starts_with("unix:")) {
    address.socket = url.substr(url.starts_with("unix://") ? 7 : 5);
    if (address.socket.empty()) refuse(option, "names no socket");
  } else if (url.starts_with("rediss://")) {
    throw UsageError(option, "rediss:// (TLS) is not spoken by backlot",
                     "give redis:// to a tunnel's end (ssh -L, stunnel) or a private network");
  } else if (url.starts_with("redis://")) {
    std::string_view rest = std::string_view(url).substr(8);
    if (const size_t at = rest.rfind('@'); at != rest.npos) {
      read_login(address, rest.substr(0, at), option);
      rest.remove_prefix(at + 1);
    }
    const size_t slash = rest.find('/');
    read_host(address, rest.substr(0, slash), option);
    if (slash != rest.npos && slash + 1 < rest.size()) {
      const auto database = number(rest.substr(slash + 1), 1 << 20);
      if (!database) refuse(option, "has something other than a database's number after the '/'");
      address.database = *database;
    }
  } else {
    refuse(option, url.empty() ? "is empty" : "is no redis:// address");
  }
  if (const char* given = std::getenv("REDISCLI_AUTH"); given && address.password.empty())
    address.password = given;
  return address;
}

}  // namespace backlot
