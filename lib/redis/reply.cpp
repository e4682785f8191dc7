#include "redis/reply.h"

#include <fmt/format.h>

namespace backlot {
namespace {

template <typename T, typename Variant>
const T& expect(const Variant& value, const char* kind) {
  if (const T* held = std::get_if<T>(&value)) return *held;
  constexpr const char* kinds[] = {"nothing", "a number", "a text", "a list"};
  throw RedisRefused("Redis", fmt::format("answered {} in place of {}", kinds[value.index()], kind),
                     "check that a Redis server of version 7.0 or later listens there");
}

}  // namespace

int64_t RedisReply::integer() const { return expect<int64_t>(value_, "a number"); }
const std::string& RedisReply::text() const { return expect<std::string>(value_, "a text"); }
const RedisReply::List& RedisReply::list() const { return expect<List>(value_, "a list"); }

const RedisReply::List& RedisReply::list(size_t at_least) const {
  const List& elements = list();
  if (elements.size() < at_least)
    throw RedisRefused(
        "Redis", fmt::format("answered {} elements in place of {}", elements.size(), at_least),
        "check that a Redis server of version 7.0 or later listens there");
  return elements;
}

}  // namespace backlot
