#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/sha256.h"
#include "weights/json_file.h"
#include "weights/language_folder.h"
#include "weights/model_folder.h"

namespace backlot {
namespace {

constexpr uint64_t piece_bytes = uint64_t{64} << 20;

// What a file's content is believed to follow from.
struct Stamp {
  uint64_t size = 0, inode = 0;
  int64_t modified = 0;  // nanoseconds

  bool operator==(const Stamp&) const = default;
};

Stamp stamp(const fs::path& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) throw_errno(path, "read", errno);
  return {.size = static_cast<uint64_t>(facts.st_size),
          .inode = static_cast<uint64_t>(facts.st_ino),
          .modified = int64_t{facts.st_mtim.tv_sec} * 1'000'000'000 + facts.st_mtim.tv_nsec};
}

// Digests of files hashed before, by absolute path. A damaged cache is an empty one, and a cache
// that can't be written costs time only.
class Cache {
 public:
  Cache() {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    const char* home = std::getenv("HOME");
    if (cache && *cache == '/') {
      path_ = fs::path(cache) / "backlot/fingerprints.json";
    } else if (home && *home == '/') {
      path_ = fs::path(home) / ".cache/backlot/fingerprints.json";
    } else {
      return;
    }
    try {
      entries_ = read_json_file(path_);
    } catch (const Error&) {
    }
    if (!entries_.is_object()) entries_ = Json::object();
  }

  std::optional<std::string> find(const fs::path& path, const Stamp& stamp) const {
    const auto entry = entries_.find(path.string());
    if (entry == entries_.end() || !entry->is_object()) return std::nullopt;
    const auto digest = entry->find("sha256");
    if (digest == entry->end() || !digest->is_string()) return std::nullopt;
    Json expected = to_json(stamp);
    expected["sha256"] = *digest;
    if (*entry != expected) return std::nullopt;
    return digest->get<std::string>();
  }

  void add(const fs::path& path, const Stamp& stamp, const std::string& digest) {
    Json entry = to_json(stamp);
    entry["sha256"] = digest;
    entries_[path.string()] = std::move(entry);
    changed_ = true;
  }

  void save() {
    if (!changed_ || path_.empty()) return;
    Json kept = Json::object();
    std::error_code error;
    for (const auto& [path, entry] : entries_.items())
      if (fs::exists(path, error)) kept[path] = entry;
    try {
      make_folders(path_.parent_path());
      write_file_durably(path_, kept.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
    } catch (const Error&) {
    }
  }

 private:
  static Json to_json(const Stamp& stamp) {
    return {{"size", stamp.size}, {"inode", stamp.inode}, {"modified", stamp.modified}};
  }

  fs::path path_;
  Json entries_;
  bool changed_ = false;
};

// The SHA-256 of bytes [piece * 64 MiB, …) of the file.
std::string hash_piece(const fs::path& path, uint64_t piece) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw_errno(path, "open", errno);
  Sha256 hash;
  std::string buffer(1 << 20, '\0');
  uint64_t offset = piece * piece_bytes;
  const uint64_t end = offset + piece_bytes;
  int failure = 0;
  while (offset < end) {
    const auto wanted = std::min<uint64_t>(buffer.size(), end - offset);
    const ssize_t n = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failure = errno;
    if (n <= 0) break;
    hash.update(std::string_view(buffer.data(), static_cast<size_t>(n)));
    offset += static_cast<uint64_t>(n);
  }
  ::close(fd);
  if (failure != 0) throw_errno(path, "read", failure);
  return hash.hex();
}

struct Piece {
  size_t file;
  uint64_t index;
  std::string digest;
};

// Fills in the digests on as many threads as the machine has cores.
void hash_pieces(const std::vector<fs::path>& paths, std::vector<Piece>& pieces) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (size_t i = next++; i < pieces.size(); i = next++)
        pieces[i].digest = hash_piece(paths[pieces[i].file], pieces[i].index);
    } catch (...) {
      const std::scoped_lock lock(mutex);
      failure = std::current_exception();
    }
  };
  {
    const size_t cores = std::max(1u, std::thread::hardware_concurrency());
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < std::min(cores, pieces.size()); ++i) threads.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

// The digest of each file's content, in order.
std::vector<std::string> content_digests(const std::vector<fs::path>& paths) {
  Cache cache;
  std::vector<std::string> digests(paths.size());
  std::vector<Stamp> stamps;
  std::vector<Piece> pieces;
  for (size_t i = 0; i < paths.size(); ++i) {
    stamps.push_back(stamp(paths[i]));
    if (const auto known = cache.find(paths[i], stamps[i])) {
      digests[i] = *known;
      continue;
    }
    const uint64_t count = std::max<uint64_t>(1, (stamps[i].size + piece_bytes - 1) / piece_bytes);
    for (uint64_t piece = 0; piece < count; ++piece) pieces.push_back({.file = i, .index = piece});
  }
  hash_pieces(paths, pieces);
  std::map<size_t, Sha256> lists;
  for (const auto& piece : pieces) lists[piece.file].update(piece.digest);
  for (auto& [file, list] : lists) {
    digests[file] = list.hex();
    // A file that changed meanwhile is hashed again the next time.
    if (stamp(paths[file]) == stamps[file]) cache.add(paths[file], stamps[file], digests[file]);
  }
  cache.save();
  return digests;
}

// A name that is the same wherever the model lies, and whatever a single file is called.
std::string portable_name(const ModelFolder& model, const fs::path& file) {
  if (!model.single_file()) return file.lexically_relative(model.path()).generic_string();
  if (file == model.path()) return "checkpoint";
  return (file.parent_path().filename() / file.filename()).generic_string();
}

std::string portable_name(const LanguageFolder& model, const fs::path& file) {
  return model.is_gguf() ? "model.gguf" : file.lexically_relative(model.path()).generic_string();
}

// The digests of a model's files, in order, as one.
template <class Model>
std::string joined(const Model& model, const std::vector<fs::path>& files,
                   const std::vector<std::string>& digests) {
  std::map<std::string, std::string> contents;
  for (size_t i = 0; i < files.size(); ++i)
    contents.emplace(portable_name(model, files[i]), digests[i]);
  Sha256 hash;
  for (const auto& [name, digest] : contents) hash.update(fmt::format("{}\n{}\n", name, digest));
  return hash.hex();
}

template <class Model>
std::string hashed(const Model& model, const std::vector<fs::path>& files) {
  std::vector<fs::path> paths;
  for (const auto& file : files) paths.push_back(fs::absolute(file).lexically_normal());
  try {
    return joined(model, files, content_digests(paths));
  } catch (const EnvironmentError& error) {
    throw LoadError(error.where(), error.problem(), "download the model again");
  }
}

template <class Model>
std::optional<std::string> known(const Model& model, const std::vector<fs::path>& files) {
  const Cache cache;
  std::vector<std::string> digests;
  try {
    for (const auto& file : files) {
      const fs::path path = fs::absolute(file).lexically_normal();
      const auto found = cache.find(path, stamp(path));
      if (!found) return std::nullopt;
      digests.push_back(*found);
    }
  } catch (const EnvironmentError&) {
    return std::nullopt;
  }
  return joined(model, files, digests);
}

}  // namespace

std::string fingerprint(const ModelFolder& model, const std::optional<std::string>& variant) {
  return hashed(model, model.files(variant));
}

std::string fingerprint(const LanguageFolder& model) { return hashed(model, model.files()); }

std::optional<std::string> known_fingerprint(const ModelFolder& model,
                                             const std::optional<std::string>& variant) {
  return known(model, model.files(variant));
}

std::optional<std::string> known_fingerprint(const LanguageFolder& model) {
  return known(model, model.files());
}

}  // namespace backlot
