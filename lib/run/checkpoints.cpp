#include "run/checkpoints.h"

#include <fmt/format.h>

#include "base/error.h"

namespace backlot {
namespace {

constexpr std::string_view extension = ".checkpoint";
constexpr uint64_t most_bytes = uint64_t{4} << 30;

fs::path checkpoint_path(std::string_view item_id) {
  return fs::path(work_folder) / fmt::format("{}{}", item_id, extension);
}

}  // namespace

void keep_checkpoint(const RootedFolder& root, std::string_view item_id, std::string_view bytes) {
  root.write_durably(checkpoint_path(item_id), bytes);
}

std::optional<std::string> read_checkpoint(const RootedFolder& root, std::string_view item_id) try {
  return root.read(checkpoint_path(item_id), most_bytes);
} catch (const EnvironmentError&) {
  // One that can't be read costs what it would have saved.
  return std::nullopt;
}

void drop_checkpoint(const RootedFolder& root, std::string_view item_id) {
  root.remove(checkpoint_path(item_id));
}

void remove_checkpoints(const RootedFolder& root, const std::set<std::string_view>& but) {
  for (const auto& name : root.list(work_folder))
    if (name.ends_with(extension) &&
        !but.contains(std::string_view(name).substr(0, name.size() - extension.size())))
      root.remove(fs::path(work_folder) / name);
  root.remove(work_folder);
}

}  // namespace backlot
