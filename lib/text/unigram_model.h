// The Unigram language model of SentencePiece: of all ways to cut a word into known pieces, the
// one whose scores sum highest. Follows the model of that name in Hugging Face's tokenizers.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

struct ScoredPiece {
  std::string text;
  double score = 0;  // the logarithm of its probability
};

// What happens to characters that no piece covers.
enum class UnknownAs { one_token, bytes };

// Immutable.
class UnigramModel {
 public:
  // Pieces by id. They are not empty, all different, at most `longest_piece` bytes long, and
  // `unknown` is the id of one of them. With `bytes`, an unknown run becomes the tokens "<0x00>" …
  // "<0xFF>" of its bytes where all of these exist.
  UnigramModel(const std::vector<ScoredPiece>& pieces, int64_t unknown, UnknownAs unknown_as);

  // Appends the ids of `word`, which is well-formed UTF-8. Neighbouring unknown characters together
  // give one unknown token. Time grows with the length of the word times that of the longest piece.
  void encode(std::string_view word, std::vector<int64_t>& ids) const;

  static constexpr size_t longest_piece = 1024;

 private:
  struct Piece {
    std::string text;
    double score;
    int64_t id;
  };
  std::optional<int64_t> id_of(std::string_view text) const;
  template <typename Visit>
  void each_prefix(std::string_view text, Visit visit) const;
  void append(std::string_view part, std::vector<int64_t>& ids) const;

  std::vector<Piece> pieces_;               // by text, in the order of their bytes
  std::array<size_t, 257> first_{};         // where the pieces with each first byte begin
  std::array<int64_t, 256> byte_tokens_{};  // -1 where there is none
  int64_t unknown_;
  double unknown_score_;
  UnknownAs unknown_as_;
};

}  // namespace backlot
