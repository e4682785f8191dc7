// What a Redis server answered, as a value. Whoever reads it says what it must be.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"

namespace backlot {

// The server said no: a wrong password, a command it does not know, no memory left. Asking again
// gives the same answer.
struct RedisRefused : EnvironmentError {
  using EnvironmentError::EnvironmentError;
};

// The server can't be reached or can't answer now; it may later.
struct RedisUnavailable : EnvironmentError {
  using EnvironmentError::EnvironmentError;
};

class RedisReply {
 public:
  using List = std::vector<RedisReply>;

  RedisReply() = default;  // nil
  explicit RedisReply(int64_t value) : value_(value) {}
  explicit RedisReply(std::string value) : value_(std::move(value)) {}
  explicit RedisReply(List value) : value_(std::move(value)) {}

  bool nil() const { return std::holds_alternative<std::monostate>(value_); }

  // Throw RedisRefused if it is of another type.
  int64_t integer() const;
  const std::string& text() const;
  const List& list() const;
  const List& list(size_t at_least) const;  // with so many elements or more

 private:
  std::variant<std::monostate, int64_t, std::string, List> value_;
};

}  // namespace backlot
