// Tables of items: the files that a job names in prompts_from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "spec/field_values.h"

namespace backlot {

inline constexpr uint64_t max_rows_bytes = uint64_t{512} << 20;
inline constexpr uint64_t max_items = 1'000'000;

// One row's fields, with the file's lines as marks.
struct Row {
  FieldValues fields;
  Mark mark;
};

// Reads .txt (one prompt a line, blank lines skipped), .csv (RFC 4180, its header names fields; an
// empty cell says nothing, a quoted empty one is empty text) or .jsonl (an object a line, blank
// lines skipped). A byte order mark and CRLF are taken in stride.
// Throws SpecError: at `mark` if the file is missing, of another kind or too large; in the file for
// an unknown or repeated column, a row with too many or too few cells, a value that its field
// refuses.
std::vector<Row> read_rows(const std::filesystem::path& file, Mark mark, Sources& sources,
                           Task task);

// The field called `name`, for a key at `mark`. Throws SpecError naming the nearest known name, or
// saying that the field belongs to a later version or to another task. `others` are further keys
// that would be right there, for the suggestion.
const Field& known_field(std::string_view name, Mark mark, const Sources& sources, Task task,
                         std::span<const std::string_view> others = {});

}  // namespace backlot
