#include "run/cache_entry.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/sha256.h"

namespace backlot {
namespace {

constexpr size_t hash_length = 64;

}  // namespace

std::string encode_entry(std::string_view key, const CachedOutput& output,
                         std::string_view version) {
  const Attempt& attempt = output.attempt;
  Json line = {{"key", key},
               {"sha256", output.sha256},
               {"bytes", output.bytes.size()},
               {"width", output.width},
               {"height", output.height},
               {"started", attempt.started},
               {"seconds", seconds_json(attempt)},
               {"device", attempt.device},
               {"dtype", attempt.dtype},
               {"quantization", attempt.quantization},
               {"batch", attempt.batch},
               {"warnings", attempt.warnings},
               {"backlot", version}};
  if (output.clip) line["clip"] = to_json(*output.clip);
  const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace);
  return sha256_hex(text) + "\n" + text + "\n" + output.bytes;
}

std::optional<CachedOutput> decode_entry(std::string bytes, std::string_view key) try {
  const std::string_view all = bytes;
  if (all.size() <= hash_length || all[hash_length] != '\n') return std::nullopt;
  const size_t end = all.find('\n', hash_length + 1);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view text = all.substr(hash_length + 1, end - hash_length - 1);
  if (sha256_hex(text) != all.substr(0, hash_length)) return std::nullopt;

  const Json line = Json::parse(text);
  CachedOutput output;
  output.sha256 = line.at("sha256");
  output.width = line.at("width");
  output.height = line.at("height");
  if (const auto clip = line.find("clip"); clip != line.end()) output.clip = clip_from_json(*clip);
  const Json& seconds = line.at("seconds");
  Attempt& attempt = output.attempt;
  attempt.started = line.at("started");
  attempt.text_encode = seconds.at("text_encode");
  attempt.denoise = seconds.at("denoise");
  attempt.decode = seconds.at("decode");
  attempt.write = seconds.at("write");
  attempt.device = line.at("device");
  attempt.dtype = line.at("dtype");
  attempt.quantization = line.at("quantization");
  attempt.batch = line.at("batch");
  line.at("warnings").get_to(attempt.warnings);
  attempt.tries = 0;
  attempt.cached = true;
  if (line.at("key") != key) return std::nullopt;
  bytes.erase(0, end + 1);
  if (sha256_hex(bytes) != output.sha256) return std::nullopt;
  output.bytes = std::move(bytes);
  return output;
} catch (const Json::exception&) {
  return std::nullopt;
}

std::string read_whole(int fd, const fs::path& path) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) throw_errno(path, "read", errno);
  if (!S_ISREG(facts.st_mode)) throw_errno(path, "read", EISDIR);
  std::string bytes(static_cast<size_t>(facts.st_size), '\0');
  size_t read = 0;
  while (read < bytes.size()) {
    const ssize_t n = ::read(fd, bytes.data() + read, bytes.size() - read);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno(path, "read", errno);
    if (n == 0) break;
    read += static_cast<size_t>(n);
  }
  bytes.resize(read);
  return bytes;
}

}  // namespace backlot
