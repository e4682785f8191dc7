// Language models by the names of their sizes: for measurements without their weights.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/decoder_config.h"

namespace backlot {

// "qwen2.5-7b", …
std::vector<std::string> published_language_models();

// The published sizes of the model of that name; nothing for other names.
std::optional<DecoderConfig> published_decoder_config(std::string_view name);

// The same, or what the config.json in the folder `name` says; the folder needs no weights. Throws
// UsageError if it is neither; LoadError as read_decoder_config does.
DecoderConfig synthetic_decoder_config(const std::string& name);

}  // namespace backlot
