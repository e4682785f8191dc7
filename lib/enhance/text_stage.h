// The stage of a run in which prompts become the texts that are rendered, before anything else is
// made.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "enhance/text_maker.h"
#include "run/result_cache.h"
#include "run/run_folder.h"
#include "spec/item.h"

namespace backlot {

// Loads a language model; it is destroyed, and its memory free again, before make_texts returns.
using LoadTextMaker = std::function<std::unique_ptr<TextMaker>(const std::filesystem::path& model)>;

struct TextStageOptions {
  ResultCache* cache = nullptr;  // texts are taken from it and put into it
  MadeWith how;                  // the language model's, for the cache
  // Called after each text that is made, or was taken from the cache.
  std::function<void(const TextRecord&, bool cached)> told{};
  // Called for a chat or a prompt that can't be answered, whatever the seed (beyond the context,
  // say). If nobody is, such a prompt is kept.
  std::function<void(const PlannedText&, const std::string& error)> failed{};
};

struct TextTotals {
  int64_t made = 0;       // now
  int64_t fell_back = 0;  // of those: prompts that are kept
  int64_t cached = 0;     // taken from the cache now
  int64_t found = 0;      // in the folder's journals, from an earlier run
};

// Sets Item::enhanced_prompt of every item whose text exists, after making those that pending items
// of the folder need and that its journals don't have. Each text is journalled as soon as it is
// known: after a kill only what was in hand is made again. Loads nothing if nothing is missing.
// `plan` is the folder's own. Throws what the maker, its loading and the folder throw; texts
// journalled until then are kept.
TextTotals make_texts(Plan& plan, RunFolder& folder, const LoadTextMaker& load,
                      const TextStageOptions& options = {});

}  // namespace backlot
