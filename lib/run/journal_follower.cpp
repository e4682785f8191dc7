#include "run/journal_follower.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/files.h"

namespace backlot {
namespace {

constexpr size_t chunk_bytes = size_t{4} << 20;

bool is_journal(const std::string& name) {
  return name.ends_with(".jsonl") && !is_temporary_name(name);
}

}  // namespace

template <typename Use>
void JournalFollower::read_on(const std::string& name, Use use) {
  const fs::path path = fs::path("journal") / name;
  uint64_t& at = read_[name];
  const uint64_t size = root_.file_size(path).value_or(0);
  // A journal gets shorter when lines that could not be flushed are cut off, or at a new start.
  if (size <= at) {
    at = size;
    return;
  }
  const UniqueFd file = root_.open_file(path, O_RDONLY | O_NONBLOCK);
  if (!file) return;
  std::string text(std::min<uint64_t>(size - at, chunk_bytes), '\0');
  ssize_t n;
  do n = ::pread(file.get(), text.data(), text.size(), static_cast<off_t>(at));
  while (n < 0 && errno == EINTR);
  if (n < 0) throw_errno(root_.path() / path, "read", errno);
  text.resize(static_cast<size_t>(n));
  size_t whole = 0;
  for (size_t end; (end = text.find('\n', whole)) != std::string::npos; whole = end + 1)
    use(std::string_view(text).substr(whole, end - whole));
  // A line longer than a chunk is none of backlot's.
  at += whole > 0 || text.size() < chunk_bytes ? whole : text.size();
}

std::vector<Record> JournalFollower::poll() {
  std::vector<Record> records;
  for (const auto& name : root_.list("journal")) {
    if (!is_journal(name)) continue;
    read_on(name, [&](std::string_view line) {
      const Json json = Json::parse(line, nullptr, false);
      if (json.is_discarded()) return;
      if (auto record = record_from_json(json)) records.push_back(std::move(*record));
    });
  }
  return records;
}

void JournalFollower::skip_to_end() {
  for (const auto& name : root_.list("journal"))
    if (is_journal(name)) read_[name] = root_.file_size(fs::path("journal") / name).value_or(0);
}

}  // namespace backlot
