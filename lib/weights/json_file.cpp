#include "weights/json_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace backlot {
namespace {

constexpr int max_depth = 64;
constexpr std::string_view mend = "mend the file, or download it again";

std::string place(const fs::path& path, std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, byte > 0 ? byte - 1 : 0);
  const auto line = 1 + std::ranges::count(before, '\n');
  const size_t newline = before.rfind('\n');
  const size_t column =
      newline == std::string_view::npos ? before.size() + 1 : before.size() - newline;
  return fmt::format("{}:{}:{}", path.string(), line, column);
}

// "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while …" without
// the library's own prefix and place.
std::string reason(const Json::exception& error) {
  const std::string_view text = error.what();
  const size_t colon = text.find(": ");
  return std::string(colon == std::string_view::npos ? text : text.substr(colon + 2));
}

// Refuses depth and repeated names while the parser goes along.
class Guard {
 public:
  explicit Guard(const fs::path& path) : path_(path) {}

  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= max_depth) fail(fmt::format("nested deeper than {} levels", max_depth));
      names_.emplace_back();
    } else if (event == Event::object_end || event == Event::array_end) {
      names_.pop_back();
    } else if (event == Event::key) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!names_.back().insert(name).second) fail(fmt::format("'{}' is there twice", name));
    }
    return true;
  }

 private:
  [[noreturn]] void fail(std::string what) const {
    throw LoadError(path_.string(), std::move(what), std::string(mend));
  }
  const fs::path& path_;
  std::vector<std::set<std::string>> names_;
};

}  // namespace

Json read_json_file(const fs::path& path, uint64_t max_bytes) {
  std::string text;
  try {
    text = read_file(path, max_bytes);
  } catch (const EnvironmentError& error) {
    throw LoadError(error.where(), error.problem(), error.mend());
  }
  // The parser would take a zero byte for the end of its input.
  if (const size_t zero = text.find('\0'); zero != std::string::npos)
    throw LoadError(place(path, text, zero + 1), "a zero byte in JSON", std::string(mend));
  Guard guard(path);
  try {
    return Json::parse(text, [&](int depth, Json::parse_event_t event, Json& parsed) {
      return guard(depth, event, parsed);
    });
  } catch (const Json::parse_error& error) {
    throw LoadError(place(path, text, error.byte), reason(error), std::string(mend));
  } catch (const Json::exception& error) {
    throw LoadError(path.string(), reason(error), std::string(mend));
  }
}

}  // namespace backlot
