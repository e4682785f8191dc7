// The two functions that the engine's shared library exports.
#pragma once

#include "engine/engine.h"

namespace backlot {

// Raised whenever engine.h changes, so that a binary never talks to another version's engine.
inline constexpr int engine_abi = 8;

using EngineAbi = int (*)();
using MakeEngine = Engine* (*)(const EngineOptions&);

}  // namespace backlot
