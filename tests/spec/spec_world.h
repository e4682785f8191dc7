// A folder with a model and specs, and a planner that looks at neither weights nor devices.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "spec/spec.h"
#include "support/temporary_folder.h"

namespace backlot {

class SpecWorld {
 public:
  SpecWorld() { make_folders(folder_ / "model"); }

  fs::path write(const std::string& name, const std::string& text) const {
    make_folders((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }

  // A spec whose lines 1 and 2 are `version` and `model`, so that `rest` starts on line 3.
  SpecDocument read(const std::string& rest, const std::vector<std::string>& sets = {}) const {
    return read_spec(write("s.yaml", "version: 1\nmodel: model\n" + rest), sets);
  }

  Plan plan(const SpecDocument& document, uint64_t base_seed = 1) const {
    return make_plan(document, {.model_facts =
                                    [](const fs::path&, const auto& variant) {
                                      return ModelFacts{.fingerprint = "f" + variant.value_or(""),
                                                        .default_width = 128,
                                                        .default_height = 64};
                                    },
                                .base_seed = base_seed});
  }
  Plan plan(const std::string& rest, uint64_t base_seed = 1) const {
    return plan(read(rest), base_seed);
  }

  // The same with a Wan model.
  Plan plan_clips(const SpecDocument& document) const {
    return make_plan(document, {.model_facts =
                                    [](const fs::path&, const auto&) {
                                      ModelFacts facts;
                                      facts.fingerprint = "w";
                                      facts.default_width = 832;
                                      facts.default_height = 480;
                                      facts.family = ModelFamily::wan;
                                      facts.side_multiple = 16;
                                      return facts;
                                    },
                                .base_seed = 1});
  }
  Plan plan_clips(const std::string& rest) const { return plan_clips(read(rest)); }

  // "3:5: what; mend" of the error that `rest` leads to, "" if there is none.
  std::string error(const std::string& rest, const std::vector<std::string>& sets = {}) const {
    try {
      plan(read(rest, sets));
      return "";
    } catch (const Error& error) {
      std::string line = error.what();
      for (const auto& file : {(folder_ / "s.yaml").string() + ":", folder_.path().string() + "/"})
        while (line.find(file) != std::string::npos) line.erase(line.find(file), file.size());
      return line;
    }
  }

  const fs::path& folder() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

}  // namespace backlot
