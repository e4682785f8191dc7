#include "text/unigram_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace backlot {
namespace {

constexpr double unknown_penalty = 10;  // below the worst piece

unsigned char byte_at(std::string_view text, size_t at) {
  return static_cast<unsigned char>(text[at]);
}

// Bytes of the character that begins at `at` of well-formed UTF-8.
size_t character_length(std::string_view text, size_t at) {
  const unsigned char lead = byte_at(text, at);
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

}  // namespace

UnigramModel::UnigramModel(const std::vector<ScoredPiece>& pieces, int64_t unknown,
                           UnknownAs unknown_as)
    : unknown_(unknown), unknown_as_(unknown_as) {
  double worst = std::numeric_limits<double>::infinity();
  pieces_.reserve(pieces.size());
  for (const auto& piece : pieces) {
    pieces_.push_back({piece.text, piece.score, static_cast<int64_t>(pieces_.size())});
    worst = std::min(worst, piece.score);
  }
  unknown_score_ = worst - unknown_penalty;
  std::sort(pieces_.begin(), pieces_.end(),
            [](const Piece& a, const Piece& b) { return a.text < b.text; });
  for (const Piece& piece : pieces_) ++first_[byte_at(piece.text, 0) + size_t{1}];
  for (size_t byte = 1; byte < first_.size(); ++byte) first_[byte] += first_[byte - 1];
  for (size_t byte = 0; byte < byte_tokens_.size(); ++byte)
    byte_tokens_[byte] = id_of(fmt::format("<0x{:02X}>", byte)).value_or(-1);
}

// Calls visit(piece) for each piece that `text`, which is not empty, begins with, the shortest
// first.
template <typename Visit>
void UnigramModel::each_prefix(std::string_view text, Visit visit) const {
  auto low = pieces_.begin() + static_cast<std::ptrdiff_t>(first_[byte_at(text, 0)]);
  auto high = pieces_.begin() + static_cast<std::ptrdiff_t>(first_[byte_at(text, 0) + size_t{1}]);
  for (size_t length = 1; low != high; ++length) {
    // All pieces in [low, high) begin with the same `length` bytes as the text.
    if (low->text.size() == length) visit(*low++);
    if (length == text.size()) return;
    const unsigned char next = byte_at(text, length);
    low = std::partition_point(
        low, high, [&](const Piece& piece) { return byte_at(piece.text, length) < next; });
    high = std::partition_point(
        low, high, [&](const Piece& piece) { return byte_at(piece.text, length) == next; });
  }
}

std::optional<int64_t> UnigramModel::id_of(std::string_view text) const {
  const auto found =
      std::lower_bound(pieces_.begin(), pieces_.end(), text,
                       [](const Piece& piece, std::string_view t) { return piece.text < t; });
  if (found == pieces_.end() || found->text != text) return std::nullopt;
  return found->id;
}

// `part` is a piece, or a run of unknown characters.
void UnigramModel::append(std::string_view part, std::vector<int64_t>& ids) const {
  if (const auto id = id_of(part)) {
    ids.push_back(*id);
    return;
  }
  const auto has_token = [this](char c) {
    return byte_tokens_[static_cast<unsigned char>(c)] >= 0;
  };
  if (unknown_as_ == UnknownAs::bytes && std::all_of(part.begin(), part.end(), has_token)) {
    for (const char c : part) ids.push_back(byte_tokens_[static_cast<unsigned char>(c)]);
  } else {
    ids.push_back(unknown_);
  }
}

void UnigramModel::encode(std::string_view word, std::vector<int64_t>& ids) const {
  struct Best {  // of the ways to cut what lies before this position
    double score = 0;
    size_t begin = 0;  // of the last piece; the position itself as long as nothing leads here
    int64_t id = -1;
  };
  std::vector<Best> best(word.size() + 1);
  const auto offer = [&](size_t begin, size_t end, double score, int64_t id) {
    score += best[begin].score;
    if (best[end].id < 0 || score > best[end].score) best[end] = {score, begin, id};
  };
  for (size_t begin = 0; begin < word.size();) {
    const size_t length = character_length(word, begin);
    bool covered = false;
    each_prefix(word.substr(begin), [&](const Piece& piece) {
      offer(begin, begin + piece.text.size(), piece.score, piece.id);
      covered |= piece.text.size() == length;
    });
    if (!covered) offer(begin, begin + length, unknown_score_, unknown_);
    begin += length;
  }

  std::vector<std::string_view> parts;  // from the last to the first
  size_t unknown_until = 0;             // the end of a run of unknown characters, 0 outside one
  for (size_t end = word.size(); end > 0;) {
    const auto [score, begin, id] = best[end];
    const bool is_unknown = id == unknown_;
    if (is_unknown && unknown_until == 0) unknown_until = end;
    if (!is_unknown && unknown_until > 0) {
      parts.push_back(word.substr(end, unknown_until - end));
      unknown_until = 0;
    }
    if (!is_unknown) parts.push_back(word.substr(begin, end - begin));
    end = begin;
  }
  if (unknown_until > 0) parts.push_back(word.substr(0, unknown_until));
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) append(*part, ids);
}

}  // namespace backlot
