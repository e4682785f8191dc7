#include "media/ffmpeg/handles.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdarg>
#include <stdexcept>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace backlot {
namespace {

thread_local std::string last_logged;

void remember(void* source, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_ERROR) return;
  char line[512];
  int prefix = 1;
  av_log_format_line2(source, level, format, arguments, line, sizeof line, &prefix);
  std::string_view text = trim(line);
  // "[libx264 @ 0x55d0c8] what"
  if (const size_t end = text.find("] "); text.starts_with('[') && end != text.npos)
    text.remove_prefix(end + 2);
  if (!text.empty()) last_logged = text;
}

}  // namespace

Dictionary::Dictionary(const NamedTexts& entries) {
  for (const auto& [key, value] : entries) set(key, value);
}

void Dictionary::set(const std::string& key, const std::string& value) {
  if (av_dict_set(&entries_, key.c_str(), value.c_str(), 0) < 0) throw std::bad_alloc();
}

void Dictionary::expect_all_taken(std::string_view by) const {
  const AVDictionaryEntry* left = av_dict_get(entries_, "", nullptr, AV_DICT_IGNORE_SUFFIX);
  if (left) throw std::logic_error(fmt::format("{} has no option '{}'", by, left->key));
}

void listen_to_log() {
  last_logged.clear();
  av_log_set_callback(remember);
}

std::string reason_of(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof text);
  return last_logged.empty() ? text : fmt::format("{}: {}", text, last_logged);
}

bool is_system_error(int error) {
  const int code = AVUNERROR(error);
  return code == ENOSPC || code == EDQUOT || code == EIO || code == EFBIG || code == EACCES ||
         code == EPERM || code == EROFS || code == ENOENT || code == ENOTDIR || code == EISDIR ||
         code == EMFILE || code == ENFILE || code == ENAMETOOLONG;
}

void throw_write_failed(const std::filesystem::path& path, int error) {
  if (error == AVERROR(ENOMEM)) throw std::bad_alloc();
  if (is_system_error(error)) throw_errno(path, "write", AVUNERROR(error));
  throw EnvironmentError(path.string(), fmt::format("cannot write ({})", reason_of(error)),
                         "choose another format or codec");
}

}  // namespace backlot
