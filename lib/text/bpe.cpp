#include "text/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>

#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace backlot {
namespace {

uint64_t key_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

// A pair that could be merged; the least of rank, then position, goes first.
struct Candidate {
  uint32_t rank;
  int32_t position;
  int32_t id;
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

}  // namespace

BytePairEncoding::BytePairEncoding(const BpeFiles& files, std::string_view end_of_word,
                                   std::optional<int64_t> unknown) {
  const auto id_of = [&](const std::string& token) {
    const auto found = files.vocabulary.find(token);
    return found == files.vocabulary.end() ? absent : static_cast<int32_t>(found->second);
  };
  const auto or_unknown = [&](int32_t id) {
    return id == absent && unknown ? static_cast<int32_t>(*unknown) : id;
  };
  for (size_t byte = 0; byte < 256; ++byte) {
    inner_[byte] = or_unknown(id_of(byte_alphabet()[byte]));
    last_[byte] = or_unknown(id_of(byte_alphabet()[byte] + std::string(end_of_word)));
  }
  if (files.ignore_merges)
    for (const auto& [token, id] : files.vocabulary)
      if (auto bytes = bytes_of_token(token))
        whole_words_.emplace(std::move(*bytes), static_cast<int32_t>(id));
  merges_.reserve(files.merges.size());
  for (size_t rank = 0; rank < files.merges.size(); ++rank) {
    const Merge& merge = files.merges[rank];
    const std::string* missing = nullptr;
    const std::string whole = merge.left + merge.right;
    for (const std::string* token : {&merge.left, &merge.right, &whole})
      if (!missing && id_of(*token) == absent) missing = token;
    if (missing) {
      const std::string file = files.merges_file.string();
      throw_damaged(merge.line ? fmt::format("{}:{}", file, merge.line) : file,
                    fmt::format("'{} {}' needs the token '{}', which the vocabulary lacks",
                                merge.left, merge.right, *missing));
    }
    // A pair that comes twice counts where it comes last, as in the reference.
    merges_[key_of(id_of(merge.left), id_of(merge.right))] = {static_cast<uint32_t>(rank),
                                                              id_of(whole)};
  }
}

const BytePairEncoding::Product* BytePairEncoding::product(int32_t left, int32_t right) const {
  const auto found = merges_.find(key_of(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::vector<BytePairEncoding::Symbol> BytePairEncoding::symbols_of(std::string_view word) const {
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  for (size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    const int32_t id = i + 1 == word.size() ? last_[byte] : inner_[byte];
    if (id == absent) continue;
    const auto position = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, position - 1, position + 1});
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return symbols;
}

void BytePairEncoding::encode(std::string_view word, std::vector<int64_t>& ids) const {
  if (const auto found = whole_words_.find(word); found != whole_words_.end()) {
    ids.push_back(found->second);
    return;
  }
  std::vector<Symbol> symbols = symbols_of(word);
  std::priority_queue<Candidate> candidates;
  const auto offer = [&](int32_t position) {
    if (position < 0 || symbols[position].next < 0) return;
    const Product* made = product(symbols[position].id, symbols[symbols[position].next].id);
    if (made) candidates.push({made->rank, position, made->id});
  };
  for (size_t i = 0; i < symbols.size(); ++i) offer(static_cast<int32_t>(i));
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = symbols[best.position];
    if (left.id == absent || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    // Either side may have changed since the pair was offered.
    const Product* made = product(left.id, right.id);
    if (!made || made->id != best.id) continue;
    left.id = best.id;
    left.next = right.next;
    right.id = absent;
    if (left.next >= 0) symbols[left.next].previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  for (const Symbol& symbol : symbols)
    if (symbol.id != absent) ids.push_back(symbol.id);
}

TokenSpellings::TokenSpellings(const Vocabulary& vocabulary) : bytes_(vocabulary.size()) {
  // Added tokens may hold characters outside the byte alphabet; they stand for themselves.
  for (const auto& [token, id] : vocabulary)
    bytes_[static_cast<size_t>(id)] = bytes_of_token(token).value_or(token);
}

std::string_view TokenSpellings::bytes_of(int64_t id) const {
  if (id < 0 || id >= size()) return {};
  return bytes_[static_cast<size_t>(id)];
}

std::string TokenSpellings::text_of(std::span<const int64_t> ids) const {
  std::string bytes;
  for (const int64_t id : ids) bytes += bytes_of(id);
  return encode_utf8(decode_utf8(bytes));
}

}  // namespace backlot
