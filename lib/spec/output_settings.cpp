#include "spec/output_settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "spec/output_names.h"
#include "spec/presets.h"
#include "spec/yaml.h"

namespace backlot {
namespace {

constexpr std::string_view keys[] = {"dir",      "format", "name",  "max_bytes", "quality",
                                     "metadata", "quota",  "codec", "crf",       "bit_depth"};
// What texts have no use for, and what is for videos alone; what names of texts can't hold.
constexpr std::string_view not_of_texts[] = {"max_bytes", "quality", "metadata"};
constexpr std::string_view of_videos[] = {"codec", "crf", "bit_depth"};
constexpr std::string_view not_in_names[] = {"{width", "{height", "{steps"};
constexpr std::string_view codecs[] = {"h264", "h265",       "av1",        "vp9",
                                       "ffv1", "h264_nvenc", "h265_nvenc", "av1_nvenc"};
constexpr int most_crf = 63;

std::string did_you_mean(std::string_view word, std::span<const std::string_view> known,
                         std::string otherwise) {
  const std::string near = nearest(word, known);
  return near.empty() ? otherwise : fmt::format("did you mean {}?", near);
}

// "png, jpeg or webp"
std::string one_of(std::span<const std::string_view> names) {
  if (names.size() == 1) return std::string(names.front());
  return fmt::format("{} or {}", fmt::join(names.first(names.size() - 1), ", "), names.back());
}

class OutputReader {
 public:
  OutputReader(Task task, const Sources& sources, OutputSettings& settings, std::string& dir)
      : task_(task), sources_(sources), out_(settings), dir_(dir) {}

  void read(const Value::Entry& entry) {
    const Value& value = entry.value;
    check_key(entry);
    if (value.is_null()) {
      if (entry.key == "max_bytes") out_.max_bytes.reset();  // not the preset's either
      return;
    }
    if (entry.key == "dir") {
      dir_ = text(entry);
      if (dir_.empty()) fail(value.mark(), "dir is an empty path", "name a folder");
    } else if (entry.key == "format") {
      read_format(entry);
    } else if (entry.key == "name") {
      read_name(entry);
    } else if (entry.key == "max_bytes") {
      out_.max_bytes = size(entry);
    } else if (entry.key == "quota") {
      out_.quota = size(entry);
    } else if (entry.key == "codec") {
      read_codec(entry);
    } else if (entry.key == "crf") {
      out_.crf = number(entry, 0, most_crf, "18 looks like the original, 28 is small");
    } else if (entry.key == "bit_depth") {
      if (!value.is_scalar() || (value.scalar() != Json(8) && value.scalar() != Json(10)))
        fail(value.mark(), "bit_depth is neither 8 nor 10", "8 plays everywhere");
      out_.bit_depth = value.scalar().get<int>();
    } else if (entry.key == "quality") {
      out_.quality = number(entry, 1, 100, "90 is usual");
    } else {
      if (!value.is_scalar() || !value.scalar().is_boolean())
        fail(value.mark(), fmt::format("metadata is {}", value.kind()), "give true or false");
      out_.metadata = value.scalar();
    }
  }

 private:
  [[noreturn]] void fail(Mark mark, std::string what, std::string mend) const {
    sources_.fail(mark, std::move(what), std::move(mend));
  }

  std::string text(const Value::Entry& entry) const { return text_of(entry, entry.key, sources_); }

  uint64_t size(const Value::Entry& entry) const {
    return sources_.at(entry.value.mark(), entry.key + " ", [&] { return read_size(entry.value); });
  }

  int number(const Value::Entry& entry, int least, int most, const char* mend) const {
    const Value& value = entry.value;
    if (!value.is_scalar() || !value.scalar().is_number_unsigned() || value.scalar() < least ||
        value.scalar() > most)
      fail(value.mark(),
           fmt::format("{} is not a whole number from {} to {}", entry.key, least, most), mend);
    return value.scalar().get<int>();
  }

  void check_key(const Value::Entry& entry) const {
    if (!std::ranges::count(keys, entry.key))
      fail(entry.mark, fmt::format("unknown key {}", entry.key.substr(0, 80)),
           did_you_mean(entry.key, keys, fmt::format("output has {}", fmt::join(keys, ", "))));
    if (task_ == Task::enhance && std::ranges::count(not_of_texts, entry.key))
      fail(entry.mark, fmt::format("{} is for pictures", entry.key), "remove it");
    if (task_ != Task::text_to_video && std::ranges::count(of_videos, entry.key))
      fail(entry.mark, fmt::format("{} is for videos", entry.key), "remove it");
  }

  void read_format(const Value::Entry& entry) {
    const Mark mark = entry.value.mark();
    const std::string format = text(entry);
    const auto formats = output_formats(task_);
    if (std::ranges::count(formats, format)) {
      out_.format = format;
      return;
    }
    if (task_ == Task::enhance) fail(mark, "texts have the format txt", "leave it out");
    const std::string use = "use " + one_of(formats);
    constexpr std::pair<Task, const char*> others[] = {{Task::text_to_image, "pictures"},
                                                       {Task::text_to_video, "videos"},
                                                       {Task::enhance, "texts"}};
    for (const auto& [task, what] : others)
      if (std::ranges::count(output_formats(task), format))
        fail(mark, fmt::format("the format {} is for {}", format, what), use);
    fail(mark, fmt::format("unknown format {}", format.substr(0, 40)),
         format == "jpg" ? "did you mean jpeg?" : did_you_mean(format, formats, use));
  }

  void read_name(const Value::Entry& entry) {
    out_.name = text(entry);
    const Mark mark = entry.value.mark();
    sources_.at(mark, "name ", [&] { OutputNames(out_.name, "x", ".png"); });
    for (const auto& field : not_in_names)
      if (task_ == Task::enhance && out_.name.find(field) != std::string::npos)
        fail(mark, fmt::format("name has the field {}}}, which texts don't have", field),
             "use {index}, {slug} or {seed}");
  }

  // Which of them a container can hold is known where it is written.
  void read_codec(const Value::Entry& entry) {
    out_.codec = text(entry);
    if (!std::ranges::count(codecs, out_.codec))
      fail(entry.value.mark(), fmt::format("unknown codec {}", out_.codec.substr(0, 40)),
           did_you_mean(out_.codec, codecs, "use " + one_of(codecs)));
  }

  Task task_;
  const Sources& sources_;
  OutputSettings& out_;
  std::string& dir_;
};

}  // namespace

void read_output(const Value& output, Task task, const Sources& sources, OutputSettings& settings,
                 std::string& dir) {
  if (!output.is_map())
    sources.fail(output.mark(), fmt::format("output is a mapping, not {}", output.kind()),
                 "write `output: {dir: out, format: png}`");
  OutputReader reader(task, sources, settings, dir);
  for (const auto& entry : output.entries()) reader.read(entry);
}

std::string text_of(const Value::Entry& entry, std::string_view name, const Sources& sources) {
  const Value& value = entry.value;
  if (!value.is_text())
    sources.fail(value.mark(), fmt::format("{} is {}, not text", name, value.kind()),
                 value.is_scalar() ? fmt::format("put it in quotes: \"{}\"", value.scalar().dump())
                                   : "write one value");
  const std::string text = value.scalar();
  if (text.find('\0') != std::string::npos)
    sources.fail(value.mark(), fmt::format("{} holds a NUL character", name), "remove it");
  if (!is_utf8(text))
    sources.fail(value.mark(), fmt::format("{} is not valid UTF-8", name),
                 "give the text as UTF-8");
  return text;
}

}  // namespace backlot
