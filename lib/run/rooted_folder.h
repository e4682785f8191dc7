// A folder and what lies beneath it, touched through descriptors: a symbolic link planted inside it
// can't send a write elsewhere, and every write survives a crash whole or not at all.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"

namespace backlot {

// Closes its descriptor when destroyed.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd();
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// Writes all bytes, through short writes and interruptions. Throws EnvironmentError about `path`.
void write_fully(int fd, std::string_view bytes, const fs::path& path);

// fsync, or fdatasync where `data_only`. File systems that cannot flush at all are let pass; any
// other failure throws EnvironmentError about `path`.
enum class Flush { everything, data_only };
void flush_to_disk(int fd, const fs::path& path, Flush what = Flush::everything);

// All paths are relative, without "..": "images/00000-a.png". A symbolic link on the way, or a path
// that leads out, throws EnvironmentError; so does every failed system call, naming the path.
// Safe to use from several threads.
class RootedFolder {
 public:
  // The names of temporary files begin with `temporary_tag` behind the common prefix, so that a
  // shard can tell its own from those of others at work.
  explicit RootedFolder(fs::path path, std::string temporary_tag = "");

  const fs::path& path() const { return path_; }

  // Creates the folder and its parents beneath the root, durably.
  void make_folder(const fs::path& relative) const;

  // open(2) beneath the root. `flags` may hold O_CREAT; an invalid descriptor means "not there".
  UniqueFd open_file(const fs::path& relative, int flags, mode_t mode = 0666) const;

  // The whole regular file, or nothing if there is none.
  std::optional<std::string> read(const fs::path& relative,
                                  uint64_t max_bytes = uint64_t{1} << 30) const;

  // Size of the regular file, or nothing if there is none (or it is a link or a folder).
  std::optional<uint64_t> file_size(const fs::path& relative) const;

  // Whether it is a folder, and no link to one.
  bool is_folder(const fs::path& relative) const;

  // When it was last changed, in nanoseconds by the file system's clock; nothing if it is not
  // there.
  std::optional<int64_t> modified(const fs::path& relative) const;

  // Creates missing folders, writes to a hidden temporary name beside the target, flushes, renames
  // and flushes the folder.
  void write_durably(const fs::path& relative, std::string_view bytes) const;

  // Gives the open file a name here, too, in place of whatever had it; creates the folder. False if
  // the file system can't (another one, no such links). The file is flushed first, so that sync()
  // of its folder makes it durable.
  bool link(const UniqueFd& file, const fs::path& relative) const;

  // Replaces `to`; creates its folder. Durable only after sync() of both folders.
  void rename(const fs::path& from, const fs::path& to) const;

  // The same within folders that are there; false if `from` is gone.
  bool rename_if_there(const fs::path& from, const fs::path& to) const;

  // Nothing happens if it is not there. A folder must be empty; if it isn't it stays.
  void remove(const fs::path& relative) const;

  // Names in the folder, sorted, without "." and ".."; none if it is not there.
  std::vector<std::string> list(const fs::path& relative) const;

  // True if files can be put into the folder, or if it is not there yet.
  bool takes_files(const fs::path& relative) const;

  // What stat(2) says of each name in the folder, in their order.
  struct FileFacts {
    std::string name;
    bool regular = true;
    uint64_t bytes = 0;
    timespec modified{};
    ino_t inode = 0;
  };
  std::vector<FileFacts> list_files(const fs::path& relative) const;

  void sync(const fs::path& relative) const;

 private:
  friend class DurableWriter;
  enum class Missing { create, tolerate };
  // The folder that holds `relative`; invalid if it is missing and that is tolerated.
  UniqueFd open_parent(const fs::path& relative, Missing missing) const;
  UniqueFd open_folder(const fs::path& relative, Missing missing) const;

  fs::path path_;
  std::string temporary_tag_;
  UniqueFd fd_;
};

// Streams a file of any length into its place: durable and visible from commit() on; without
// commit() nothing remains. commit() is flush(), place() and a flush of the folder; those who write
// many files at once take these steps for all of them together.
class DurableWriter {
 public:
  DurableWriter(const RootedFolder& root, const fs::path& relative);
  ~DurableWriter();
  DurableWriter(const DurableWriter&) = delete;
  DurableWriter& operator=(const DurableWriter&) = delete;

  void write(std::string_view bytes);
  void commit();

  void flush();  // the bytes are on disk, under the temporary name
  void place();  // visible; durable once the folder is flushed

 private:
  fs::path full_path_;
  std::string name_, temporary_;
  UniqueFd folder_, file_;
  std::string buffer_;
};

struct NewFile {
  fs::path path;  // relative to the root
  std::string_view bytes;
};

// Each file as write_durably would put it there, in much less time; at most a few hundred at once,
// for they are all open together. On a throw some may be in place, and none is there in part.
void write_all_durably(const RootedFolder& root, std::span<const NewFile> files);

}  // namespace backlot
