#include "model_store.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "weights/inspect.h"

namespace backlot {

namespace fs = std::filesystem;

std::vector<fs::path> list_models() {
  std::vector<fs::path> places;
  if (const char* named = std::getenv("BACKLOT_MODELS"); named && *named)
    places.emplace_back(named);
  places.emplace_back("models");
  std::error_code error;
  if (const fs::path self = fs::read_symlink("/proc/self/exe", error); !error) {
    const fs::path root = self.parent_path().parent_path();
    places.push_back(root / "models");
    places.push_back(root / "share" / "backlot" / "models");
  }
  std::set<fs::path> seen;
  std::vector<fs::path> models;
  for (const auto& place : places) {
    if (!fs::is_directory(place, error)) continue;
    for (const auto& model : find_models(place)) {
      // A link to a model keeps its own name.
      if (seen.insert(fs::weakly_canonical(model)).second)
        models.push_back(fs::weakly_canonical(model.parent_path()) / model.filename());
    }
  }
  return models;
}

fs::path find_model(const std::string& name) {
  std::error_code error;
  if (fs::exists(name, error)) return name;
  for (const auto& model : list_models())
    if (model.filename() == name || model.stem() == name) return model;
  return name;
}

std::optional<int64_t> default_pixels(const ModelFolder& model) {
  const Json unet = model.config("unet"), vae = model.config("vae");
  if (!unet.contains("sample_size") || !unet["sample_size"].is_number_integer())
    return std::nullopt;
  const size_t blocks = vae.contains("block_out_channels") ? vae["block_out_channels"].size() : 4;
  return unet["sample_size"].get<int64_t>() << (std::clamp<size_t>(blocks, 1, 8) - 1);
}

}  // namespace backlot
