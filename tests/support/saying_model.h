// A GGUF that says a sentence for pictures with a red fox and a blue cat, 27 different ones.
#pragma once

#include "support/tiny_language_model.h"

namespace backlot {

inline void write_saying_gguf(const fs::path& file, const std::string& architecture = "llama") {
  TinyLanguageModel model;
  model.architecture = architecture;
  model.layers = 1;
  model.context = 4096;
  model.draw_saying({{"A red fox"},
                     {" and a blue cat"},
                     {" sit", " rest", " wait"},
                     {" beside a quiet lake", " under an old bridge", " near a stone wall"},
                     {" in warm evening light", " in cold morning mist", " in the first snow"},
                     {" of the year."}});
  model.write_gguf(file);
}

}  // namespace backlot
