#include "run/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <thread>

#include "base/error.h"
#include "base/time.h"

namespace backlot {
namespace {

constexpr uint64_t max_journal_bytes = uint64_t{8} << 30;
constexpr double most_seconds_of_dying = 10;

double microseconds(double seconds) { return std::round(seconds * 1e6) / 1e6; }

std::optional<ItemStatus> status_from(std::string_view name) {
  if (name == "done") return ItemStatus::done;
  if (name == "failed") return ItemStatus::failed;
  return std::nullopt;
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

void cut(int fd, uint64_t size, const fs::path& path) {
  while (::ftruncate(fd, static_cast<off_t>(size)) != 0)
    if (errno != EINTR) throw_errno(path, "cut off a torn line of", errno);
}

// A worker that is being killed keeps its journal until the kernel is through with it.
void wait_for_lock(int fd, const fs::path& path) {
  const Stopwatch waiting;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) throw_errno(path, "lock", errno);
    if (waiting.seconds() > most_seconds_of_dying)
      throw EnvironmentError(path.string(), "another process writes this journal",
                             "end it, then run the same command again");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

// Calls `use` with every line that ends in a newline, and returns how many bytes those take.
template <typename Use>
uint64_t for_each_line(std::string_view text, Use use) {
  uint64_t whole = 0;
  for (size_t end; (end = text.find('\n', whole)) != std::string_view::npos; whole = end + 1)
    use(text.substr(whole, end - whole));
  return whole;
}

}  // namespace

bool is_output_path(const fs::path& path) {
  if (path.empty() || path.is_absolute() || !path.has_parent_path() || !path.has_filename())
    return false;
  if (*path.begin() == "journal") return false;
  return std::none_of(path.begin(), path.end(), [](const fs::path& part) {
    return part == ".." || part == "." || is_temporary_name(part);
  });
}

std::string_view status_name(ItemStatus status) {
  switch (status) {
    case ItemStatus::done:
      return "done";
    case ItemStatus::failed:
      return "failed";
    default:
      return "pending";
  }
}

Json seconds_json(const Attempt& attempt) {
  return {{"text_encode", microseconds(attempt.text_encode)},
          {"denoise", microseconds(attempt.denoise)},
          {"decode", microseconds(attempt.decode)},
          {"write", microseconds(attempt.write)}};
}

Json to_json(const ClipFacts& clip) {
  return {{"frames", clip.frames}, {"fps", clip.fps}, {"codec", clip.codec}};
}

ClipFacts clip_from_json(const Json& json) {
  ClipFacts clip;
  clip.frames = json.at("frames");
  clip.fps = json.at("fps");
  clip.codec = json.at("codec");
  return clip;
}

Json to_json(const Record& r) {
  Json line = {{"id", r.id}, {"index", r.index}, {"status", status_name(r.status)}};
  if (r.status == ItemStatus::done) {
    line["output"] = r.file.path;
    line["sha256"] = r.file.sha256;
    line["bytes"] = r.file.bytes;
    line["width"] = r.width;
    line["height"] = r.height;
    if (r.file.clip) line["clip"] = to_json(*r.file.clip);
  } else {
    line["error"] = r.error;
  }
  line["started"] = r.attempt.started;
  line["seconds"] = seconds_json(r.attempt);
  line["attempts"] = r.attempts;
  line["device"] = r.attempt.device;
  line["dtype"] = r.attempt.dtype;
  line["quantization"] = r.attempt.quantization;
  line["batch"] = r.attempt.batch;
  line["cached"] = r.attempt.cached;
  line["warnings"] = r.attempt.warnings;
  return line;
}

namespace {

Attempt attempt_from_json(const Json& line) {
  const Json& seconds = line.at("seconds");
  Attempt attempt = {.started = line.at("started"),
                     .text_encode = seconds.at("text_encode"),
                     .denoise = seconds.at("denoise"),
                     .decode = seconds.at("decode"),
                     .write = seconds.at("write"),
                     .device = line.at("device"),
                     .dtype = line.at("dtype"),
                     .batch = line.at("batch"),
                     .warnings = line.at("warnings")};
  // Journals of the first version have no such fields.
  if (const auto found = line.find("quantization"); found != line.end())
    found->get_to(attempt.quantization);
  if (const auto found = line.find("cached"); found != line.end()) found->get_to(attempt.cached);
  return attempt;
}

}  // namespace

std::optional<Record> record_from_json(const Json& line) try {
  const auto status = status_from(line.at("status").get_ref<const std::string&>());
  if (!status) return std::nullopt;
  Record r;
  r.id = line.at("id");
  r.index = line.at("index");
  r.status = *status;
  if (*status == ItemStatus::done) {
    r.file.path = line.at("output");
    r.file.sha256 = line.at("sha256");
    r.file.bytes = line.at("bytes");
    r.width = line.at("width");
    r.height = line.at("height");
    if (const auto clip = line.find("clip"); clip != line.end())
      r.file.clip = clip_from_json(*clip);
    if (!is_sha256(r.file.sha256) || !is_output_path(r.file.path)) return std::nullopt;
  } else {
    r.error = line.at("error");
  }
  r.attempt = attempt_from_json(line);
  r.attempts = line.at("attempts");
  return r;
} catch (const Json::exception&) {
  return std::nullopt;
}

Json to_json(const EngineRecord& r) {
  return {{"engine",
           {{"torch", r.torch_version},
            {"device", r.device},
            {"model", r.device_model},
            {"memory_bytes", r.device_memory_bytes}}}};
}

std::optional<EngineRecord> engine_from_json(const Json& line) try {
  const Json& engine = line.at("engine");
  return EngineRecord{.torch_version = engine.at("torch"),
                      .device = engine.at("device"),
                      .device_model = engine.at("model"),
                      .device_memory_bytes = engine.at("memory_bytes")};
} catch (const Json::exception&) {
  return std::nullopt;
}

namespace {

void read_file_into(JournalContents& contents, const RootedFolder& root, const std::string& name,
                    uint64_t from = 0) {
  const std::string text = root.read(fs::path("journal") / name, max_journal_bytes).value_or("");
  for_each_line(std::string_view(text).substr(std::min(from, text.size())),
                [&](std::string_view line) {
                  const Json json = Json::parse(line, nullptr, false);
                  if (json.is_object()) {
                    if (auto record = record_from_json(json))
                      return contents.records.push_back(std::move(*record));
                    if (auto engine = engine_from_json(json))
                      return contents.engines.push_back(std::move(*engine));
                    if (auto text = text_from_json(json))
                      return contents.texts.push_back(std::move(*text));
                  }
                  ++contents.unreadable_lines;
                });
}

}  // namespace

JournalContents read_journals(const RootedFolder& root) {
  JournalContents contents;
  for (const auto& name : root.list("journal"))
    if (name.ends_with(".jsonl") && !is_temporary_name(name)) read_file_into(contents, root, name);
  return contents;
}

JournalContents read_journal(const RootedFolder& root, std::string_view name, uint64_t from) {
  JournalContents contents;
  read_file_into(contents, root, std::string(name) + ".jsonl", from);
  return contents;
}

JournalWriter::JournalWriter(const RootedFolder& root, std::string_view worker) {
  const fs::path relative = fs::path("journal") / (std::string(worker) + ".jsonl");
  path_ = root.path() / relative;
  fd_ = root.open_file(relative, O_WRONLY | O_APPEND | O_CREAT);
  wait_for_lock(fd_.get(), path_);
  root.sync("journal");
  const auto text = root.read(relative, max_journal_bytes);
  if (!text) return;
  size_ = for_each_line(*text, [](std::string_view) {});
  if (size_ == text->size()) return;
  cut(fd_.get(), size_, path_);
  flush_to_disk(fd_.get(), path_);
}

void JournalWriter::append_lines(std::span<const Json> lines) {
  if (lines.empty()) return;
  // Text that came from outside may hold invalid UTF-8; a journal line never does.
  std::string text;
  for (const Json& line : lines)
    text += line.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  if (torn_) cut(fd_.get(), size_, path_);
  torn_ = true;
  try {
    write_fully(fd_.get(), text, path_);
    flush_to_disk(fd_.get(), path_, Flush::data_only);
  } catch (const Error&) {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size_)) == 0) torn_ = false;
    throw;
  }
  size_ += text.size();
  torn_ = false;
}

}  // namespace backlot
