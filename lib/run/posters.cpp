#include "run/posters.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "media/picture_io.h"
#include "media/preview.h"
#include "media/video_reader.h"
#include "run/journal.h"

namespace backlot {
namespace {

constexpr auto folder = "posters";
constexpr int64_t longest_side = 640;  // pixels: sharp in the grid on dense displays

bool is_video(const fs::path& path) {
  constexpr std::array extensions = {".mp4", ".mov", ".mkv", ".webm"};
  const std::string own = path.extension().string();
  return std::find(extensions.begin(), extensions.end(), own) != extensions.end();
}

bool is_hash(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// The first frame as a JPEG; "" if there is none to be had.
std::string poster_of(const fs::path& video) {
  try {
    const PictureFormat format{.kind = PictureKind::jpeg, .quality = 80};
    return encode_picture(shrink(poster_frame(video), longest_side), format, {});
  } catch (const Error&) {
    return "";
  }
}

std::string text_of(const Json& item, const char* key) {
  const auto found = item.find(key);
  return found != item.end() && found->is_string() ? found->get<std::string>() : "";
}

// The poster's path; "" for items that have none.
std::string poster_for(const RootedFolder& root, const Json& item) {
  if (!item.is_object() || text_of(item, "status") != "done") return "";
  const std::string output = text_of(item, "output"), hash = text_of(item, "sha256");
  if (!is_video(output) || !is_output_path(output) || !is_hash(hash)) return "";
  const std::string path = std::string(folder) + "/" + hash + ".jpg";
  if (root.file_size(path)) return path;
  const std::string bytes = poster_of(root.path() / output);
  if (bytes.empty()) return "";
  root.write_durably(path, bytes);
  return path;
}

}  // namespace

void add_posters(const RootedFolder& root, Json& manifest) {
  const auto items = manifest.find("items");
  if (items == manifest.end() || !items->is_array()) return;
  std::set<std::string> wanted;
  for (auto& item : *items) {
    const std::string poster = poster_for(root, item);
    if (poster.empty()) continue;
    item["poster"] = poster;
    wanted.insert(fs::path(poster).filename().string());
  }
  for (const auto& name : root.list(folder)) {
    const fs::path path(name);
    if (path.extension() == ".jpg" && is_hash(path.stem().string()) && !wanted.contains(name))
      root.remove(fs::path(folder) / name);
  }
}

}  // namespace backlot
