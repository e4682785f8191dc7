// Strict reading of a network's config.json: a key that backlot doesn't know, or a value that it
// can't honour, is an error and never a silently different picture.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace backlot {

class ConfigReader {
 public:
  // `where` names the file in messages, `family` the models that backlot would take.
  ConfigReader(const Json& config, std::string where, std::string family = "the SDXL family");

  // The value of `key`, or `otherwise` if it is absent or null. Throws LoadError if it is of
  // another kind or, for integers, not above zero.
  int64_t integer(const std::string& key, int64_t otherwise);
  double number(const std::string& key, double otherwise);
  bool flag(const std::string& key, bool otherwise);
  std::string text(const std::string& key, const std::string& otherwise);
  std::vector<std::string> texts(const std::string& key);
  std::vector<double> numbers(const std::string& key);  // empty if absent

  // One integer for all `count` places, or a list with one for each.
  std::vector<int64_t> integers(const std::string& key, size_t count, int64_t otherwise);
  // A list of integers of any length. Throws LoadError if absent.
  std::vector<int64_t> integers(const std::string& key);

  bool given(const std::string& key) const;  // there and not null

  // Throws LoadError unless `key` is absent, null or one of `values`.
  void only(const std::string& key, std::initializer_list<Json> values);

  // These keys have no influence on results.
  void ignore(std::initializer_list<std::string> keys);

  // Throws LoadError if the config has keys that nobody asked for. Those that begin with '_' are
  // the writer's notes.
  void finish() const;

  // Throws LoadError: the value of `key` is not supported.
  [[noreturn]] void refuse(const std::string& key, const std::string& why) const;

 private:
  const Json* find(const std::string& key);

  const Json& config_;
  std::string where_, family_;
  std::set<std::string> known_;
};

}  // namespace backlot
