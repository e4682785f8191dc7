// spiece.model, SentencePiece's own file: a protocol buffer, of which the few fields that count are
// read. Source: sentencepiece_model.proto.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "text/unigram_model.h"

namespace backlot {

struct SentencePieceModel {
  std::vector<ScoredPiece> pieces;  // by id
  std::vector<size_t> control_ids;  // pieces that stand for themselves alone, such as </s>
  std::vector<size_t> user_defined_ids;
  std::string character_map;  // as CharacterMap takes it; empty if there is none
};

// Throws LoadError, naming the file, if it is missing, damaged or not a Unigram model.
SentencePieceModel read_sentencepiece_model(const std::filesystem::path& file);

}  // namespace backlot
