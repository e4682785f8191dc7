// What the files of a Unigram tokenizer say: its pieces, and how text becomes the words that are
// cut into them. Read strictly; what is damaged or of another kind is a LoadError that names the
// file.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/unigram_model.h"

namespace backlot {

// How normalised text is cut into words. Afterwards `mark` stands for the space before a word.
struct WordSplitting {
  bool at_white_space = false;  // first, at any white space, which goes
  bool marks = false;           // spaces become `mark`, and …
  bool mark_first = true;       // … text without one at its beginning gets it, and …
  bool at_marks = true;         // … a word begins at each
  std::string mark = "\u2581";
};

struct UnigramFiles {
  std::filesystem::path file;  // tokenizer.json or spiece.model, for messages
  std::vector<ScoredPiece> pieces;
  int64_t unknown = 0;
  UnknownAs unknown_as = UnknownAs::one_token;
  std::vector<std::function<std::string(std::string_view)>> normalisers;  // one after the other
  WordSplitting splitting;
  std::vector<AddedToken> registered;  // beside those of read_special_tokens()
  bool is_t5 = false;                  // of transformers' T5Tokenizer
};

// Whether the folder's tokenizer is a Unigram model: tokenizer.json says so or, without one, there
// is a spiece.model.
bool is_unigram_folder(const std::filesystem::path& folder);

UnigramFiles read_unigram_files(const std::filesystem::path& folder);

}  // namespace backlot
