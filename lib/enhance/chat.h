// A prompt and a style as a chat.
#pragma once

#include <string_view>

#include "base/json.h"
#include "spec/style.h"

namespace backlot {

// System message, the examples as earlier turns, and the prompt as the last user message. All but
// the last message are the same for every prompt of a style, so that their keys and values are
// computed once.
Json chat_for(const Style& style, std::string_view prompt);

}  // namespace backlot
