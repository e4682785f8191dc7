// The journal: one JSON object a line for every item that was finished or failed, flushed to disk
// before it counts. Together with the output files it is the truth about a run; the manifest is
// made from it. docs/manifest.md describes the lines.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "run/rooted_folder.h"
#include "run/text_record.h"

namespace backlot {

enum class ItemStatus { pending, done, failed };

// How an item was tried, however it ended. Seconds are the item's share of its batch's wall time.
struct Attempt {
  std::string started;                                         // ISO 8601, UTC
  double text_encode = 0, denoise = 0, decode = 0, write = 0;  // seconds
  std::string device;                                          // "cpu", "cuda:0"
  std::string dtype;                                           // "float32", "bfloat16", "float16"
  std::string quantization = "none";                           // "none", "int8", "fp8"
  int64_t batch = 1;    // pictures made together with this one, itself included
  int64_t tries = 1;    // how often it was tried since the last record, e.g. with smaller batches
  bool cached = false;  // taken from a result cache, not made
  std::vector<std::string> warnings;

  double seconds() const { return text_encode + denoise + decode + write; }
};

// What a clip is, as it was made.
struct ClipFacts {
  int64_t frames = 0;
  double fps = 0;
  std::string codec;  // "h264"; of a sequence "png"

  bool operator==(const ClipFacts&) const = default;
};

// What lies durably under its final name: a file, or a folder of files.
struct OutputFile {
  std::string path;    // relative to the run folder
  std::string sha256;  // of a folder: of the text "HASH  NAME\n" for each file, names sorted
  uint64_t bytes = 0;  // of a folder: of all its files
  std::optional<ClipFacts> clip = {};
};

// An item's last known state: one journal line.
struct Record {
  std::string id;
  int64_t index = 0;
  ItemStatus status = ItemStatus::pending;
  OutputFile file;                // done
  int64_t width = 0, height = 0;  // done; pixels
  std::string error;              // failed
  Attempt attempt;
  int64_t attempts = 0;  // tries so far, over all runs
};

// True for a path that an output may have: relative, without "..", in a folder that isn't journal/.
bool is_output_path(const fs::path& path);

std::string_view status_name(ItemStatus status);

// {"text_encode": …, "denoise": …, "decode": …, "write": …}, rounded to microseconds.
Json seconds_json(const Attempt& attempt);

// {"frames": …, "fps": …, "codec": …}. The second throws Json::exception for anything else.
Json to_json(const ClipFacts& clip);
ClipFacts clip_from_json(const Json& json);

Json to_json(const Record& record);

// Nothing if `line` is no record that this version can have written.
std::optional<Record> record_from_json(const Json& line);

// What a run was made with, noted whenever an engine was loaded.
struct EngineRecord {
  std::string torch_version, device, device_model;
  uint64_t device_memory_bytes = 0;
  bool operator==(const EngineRecord&) const = default;
};

Json to_json(const EngineRecord& record);
std::optional<EngineRecord> engine_from_json(const Json& line);

struct JournalContents {
  std::vector<Record> records;  // in the order of writing, journal by journal
  std::vector<EngineRecord> engines;
  std::vector<TextRecord> texts;
  int64_t unreadable_lines =
      0;  // not JSON, or nothing that backlot writes; a torn end isn't counted
};

// Every journal/*.jsonl of the run folder. A line without a newline at a file's end was cut off by
// a crash and is left out.
JournalContents read_journals(const RootedFolder& root);

// journal/NAME.jsonl alone, from that byte on, where a line must begin; empty if it is not there.
JournalContents read_journal(const RootedFolder& root, std::string_view name, uint64_t from = 0);

// Appends to journal/WORKER.jsonl.
class JournalWriter {
 public:
  // Opens or creates it durably, locks it against any other writer (also in other processes; waits
  // a while for one that is being killed, then throws EnvironmentError) and cuts off a torn last
  // line.
  JournalWriter(const RootedFolder& root, std::string_view worker);

  // On return the lines are on disk. On a throw (EnvironmentError: disk full, …) the journal ends
  // where it did before.
  void append_lines(std::span<const Json> lines);
  void append(const Json& line) { append_lines(std::span(&line, 1)); }

 private:
  fs::path path_;
  UniqueFd fd_;
  uint64_t size_ = 0;  // bytes of whole lines
  bool torn_ = false;  // more than size_ may lie in the file
};

}  // namespace backlot
