// Finds LibTorch, opens it and the engine's shared library. Costs a fifth of a second, so only
// commands that compute call it.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/engine.h"

namespace backlot {

// A torch folder with lib/libtorch_cpu.so.
struct TorchFolder {
  std::filesystem::path path;
  std::string version;   // "2.11.0+cu130", "" if its files don't say
  std::string found_by;  // "BACKLOT_TORCH", "beside the binary", "as built", "python3"
};

// The first that exists of: $BACKLOT_TORCH, a torch/ or libtorch/ folder beside the installed
// binary, the folder that backlot was built with, what `python3` imports. Loads nothing.
std::optional<TorchFolder> find_torch();

// libbacklot_engine.so in lib/ or ../lib beside the binary.
std::optional<std::filesystem::path> find_engine();

// Throws EnvironmentError: no LibTorch, another version than the one compiled against, no such
// device, the engine's library missing.
std::unique_ptr<Engine> load_engine(const EngineOptions& options);

}  // namespace backlot
