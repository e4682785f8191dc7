// A file or a folder that is written under a hidden temporary name and then takes its place whole.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace backlot {

class TemporaryOutput {
 public:
  enum class Kind { file, folder };

  // Makes it, empty, beside `final_path` under the prefix that is_temporary_name knows, with `tag`
  // behind that. Throws EnvironmentError about `final_path`.
  TemporaryOutput(std::filesystem::path final_path, const std::string& tag, Kind kind);
  ~TemporaryOutput();  // removed, unless placed
  TemporaryOutput(TemporaryOutput&& other) noexcept;
  TemporaryOutput& operator=(TemporaryOutput&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }

  // On disk, with all that a folder holds. Throws EnvironmentError.
  void flush() const;

  // The final name now means this, for good; what had it is gone. flush() comes first. Throws
  // EnvironmentError.
  void place();

 private:
  void remove() noexcept;
  void replace_folder();

  std::filesystem::path final_path_, path_;
  Kind kind_ = Kind::file;
};

// The whole file, without a flush and with nothing to guard it: for what lies under a temporary
// name. Throws EnvironmentError about `shown`.
void write_undurably(const std::filesystem::path& path, std::string_view bytes,
                     const std::filesystem::path& shown);

}  // namespace backlot
