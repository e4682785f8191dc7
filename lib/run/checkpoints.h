// What half-made items can go on from, kept in a run folder until they are done.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "run/rooted_folder.h"

namespace backlot {

// Of the run folder, hidden: .backlot-work/ID.checkpoint
inline constexpr std::string_view work_folder = ".backlot-work";

// Durably, in place of an earlier one. Throws EnvironmentError.
void keep_checkpoint(const RootedFolder& root, std::string_view item_id, std::string_view bytes);

// Nothing if there is none that can be read.
std::optional<std::string> read_checkpoint(const RootedFolder& root, std::string_view item_id);

void drop_checkpoint(const RootedFolder& root, std::string_view item_id);

// All but those of these items. The folder goes with the last one.
void remove_checkpoints(const RootedFolder& root, const std::set<std::string_view>& but = {});

}  // namespace backlot
