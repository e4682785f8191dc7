#include "run/private_paths.h"

#include <algorithm>
#include <cstdlib>

namespace backlot {
namespace {

void replace_all(std::string& text, const std::string& from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

}  // namespace

PrivatePaths::PrivatePaths(const fs::path& run_folder) {
  add(run_folder);
  if (const char* home = std::getenv("HOME"); home && std::string_view(home).size() > 1)
    home_ = home;
}

void PrivatePaths::add(const fs::path& folder) {
  const std::string prefix = folder.string() + "/";
  if (prefix.size() > 1 && std::ranges::find(prefixes_, prefix) == prefixes_.end())
    prefixes_.push_back(prefix);
}

std::string PrivatePaths::removed_from(std::string text) const {
  for (const auto& prefix : prefixes_) replace_all(text, prefix, "");
  if (!home_.empty()) replace_all(text, home_, "~");
  return text;
}

}  // namespace backlot
