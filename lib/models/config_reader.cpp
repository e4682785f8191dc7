#include "models/config_reader.h"

#include <fmt/format.h>

#include "base/error.h"

namespace backlot {

ConfigReader::ConfigReader(const Json& config, std::string where, std::string family)
    : config_(config), where_(std::move(where)), family_(std::move(family)) {
  if (!config.is_object()) {
    throw LoadError(where_, "is not a JSON object", "use the model's original config.json");
  }
}

const Json* ConfigReader::find(const std::string& key) {
  known_.insert(key);
  const auto found = config_.find(key);
  return found == config_.end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::given(const std::string& key) const {
  const auto found = config_.find(key);
  return found != config_.end() && !found->is_null();
}

void ConfigReader::refuse(const std::string& key, const std::string& why) const {
  const auto found = config_.find(key);
  throw LoadError(
      where_,
      fmt::format("{} is {}, {}", key,
                  found == config_.end() ? "absent" : found->dump().substr(0, 200), why),
      fmt::format("use a model of {} with its original config.json", family_));
}

int64_t ConfigReader::integer(const std::string& key, int64_t otherwise) {
  const auto* value = find(key);
  if (!value) return otherwise;
  if (!value->is_number_integer() || value->get<int64_t>() <= 0 ||
      value->get<int64_t>() > (int64_t{1} << 31)) {
    refuse(key, "which is not a positive integer");
  }
  return value->get<int64_t>();
}

double ConfigReader::number(const std::string& key, double otherwise) {
  const auto* value = find(key);
  if (!value) return otherwise;
  if (!value->is_number()) refuse(key, "which is not a number");
  return value->get<double>();
}

bool ConfigReader::flag(const std::string& key, bool otherwise) {
  const auto* value = find(key);
  if (!value) return otherwise;
  if (!value->is_boolean()) refuse(key, "which is not true or false");
  return value->get<bool>();
}

std::string ConfigReader::text(const std::string& key, const std::string& otherwise) {
  const auto* value = find(key);
  if (!value) return otherwise;
  if (!value->is_string()) refuse(key, "which is not text");
  return value->get<std::string>();
}

std::vector<std::string> ConfigReader::texts(const std::string& key) {
  const auto* value = find(key);
  if (!value || !value->is_array() || value->empty()) refuse(key, "which is not a list of text");
  std::vector<std::string> out;
  for (const auto& entry : *value) {
    if (!entry.is_string()) refuse(key, "which is not a list of text");
    out.push_back(entry.get<std::string>());
  }
  return out;
}

std::vector<double> ConfigReader::numbers(const std::string& key) {
  std::vector<double> out;
  const auto* value = find(key);
  if (!value) return out;
  if (!value->is_array()) refuse(key, "which is not a list of numbers");
  for (const auto& entry : *value) {
    if (!entry.is_number()) refuse(key, "which is not a list of numbers");
    out.push_back(entry.get<double>());
  }
  return out;
}

std::vector<int64_t> ConfigReader::integers(const std::string& key) {
  const auto* value = find(key);
  if (!value || !value->is_array() || value->empty())
    refuse(key, "which is not a list of integers");
  std::vector<int64_t> out;
  for (const auto& entry : *value) {
    if (!entry.is_number_integer() || entry.get<int64_t>() <= 0 ||
        entry.get<int64_t>() > (int64_t{1} << 31)) {
      refuse(key, "which is not a list of positive integers");
    }
    out.push_back(entry.get<int64_t>());
  }
  return out;
}

std::vector<int64_t> ConfigReader::integers(const std::string& key, size_t count,
                                            int64_t otherwise) {
  const auto* value = find(key);
  if (!value || !value->is_array()) return std::vector<int64_t>(count, integer(key, otherwise));
  auto out = integers(key);
  if (out.size() != count) refuse(key, fmt::format("which should have {} entries", count));
  return out;
}

void ConfigReader::only(const std::string& key, std::initializer_list<Json> values) {
  const auto* value = find(key);
  if (!value) return;
  for (const auto& allowed : values) {
    if (*value == allowed) return;
  }
  refuse(key, "which backlot does not support");
}

void ConfigReader::ignore(std::initializer_list<std::string> keys) { known_.insert(keys); }

void ConfigReader::finish() const {
  for (const auto& [key, value] : config_.items()) {
    if (!key.starts_with('_') && !known_.contains(key)) {
      refuse(key, "a setting that backlot does not know");
    }
  }
}

}  // namespace backlot
