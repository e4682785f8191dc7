// LibTorch's exceptions in backlot's words.
#pragma once

#include <exception>
#include <functional>
#include <string>

namespace backlot {

// Runs `work`. What LibTorch throws because memory ran out, on a GPU or in the host's memory,
// becomes OutOfMemory; its other errors become ItemError. backlot's own errors pass.
void in_our_words(const std::string& where, const std::function<void()>& work);

}  // namespace backlot
