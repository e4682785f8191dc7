#include "enhance/language.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>

#include "base/text.h"
#include "base/utf8.h"
#include "enhance/words.h"

namespace backlot {
namespace {

// The commonest words of languages, each list in no order. Counted over a text they tell the
// languages apart; a word that several have counts for each in part.
constexpr std::string_view function_words[] = {
    // English
    "a an the of and in on at with to is are for from by as it its this that under over into "
    "through near behind above his her their while between against beside around was were be or",
    // German
    "der die das ein eine einer eines einem einen und in im auf mit von zu zum zur den dem des ist "
    "sind am an bei vor hinter unter über für aus nach durch als wie sich nicht es sein seine ihr "
    "ihre während zwischen neben",
    // French
    "le la les un une des du de et en dans sur avec à au aux est sont pour par sous qui que son sa "
    "ses ce cette d'un d'une devant derrière entre près pendant il elle ou",
    // Spanish
    "el la los las un una unos unas de del y en con al es son para por sobre bajo que su sus se "
    "entre desde hacia cerca mientras está están junto o lo como",
    // Italian
    "il lo la i gli le un uno una di del della dei delle e in nel nella con su sul sulla è sono "
    "per da dal dalla sotto che suo sua tra mentre accanto o al alla",
    // Portuguese
    "o a os as um uma uns umas de do da dos das e em no na nos nas com ao à é são para por sobre "
    "sob que seu sua entre perto enquanto ou pelo pela",
    // Dutch
    "de het een en van in op met naar is zijn voor uit door onder over bij aan als die dat achter "
    "tussen naast terwijl haar niet te",
    // Swedish
    "en ett och i på med av till är för från under över vid som den det de sig sin sitt genom "
    "bakom mellan medan",
    // Polish
    "i w we na z ze do od po pod nad przed za przy jest są się o dla przez jego jej który która "
    "oraz między obok a",
    // Turkish
    "bir ve ile için bu şu o de da üzerinde altında içinde gibi olan çok en yanında arasında ki "
    "kadar",
};
constexpr size_t languages = std::size(function_words);
using Scores = std::array<double, languages>;

const std::unordered_map<std::u32string, std::vector<size_t>>& languages_of_words() {
  static const auto table = [] {
    std::unordered_map<std::u32string, std::vector<size_t>> out;
    for (size_t language = 0; language < languages; ++language)
      for (const auto& word : split(std::string(function_words[language]), ' ')) {
        auto& having = out[decode_utf8(word)];
        if (having.empty() || having.back() != language) having.push_back(language);
      }
    return out;
  }();
  return table;
}

Scores score(const std::vector<std::u32string>& words) {
  Scores scores{};
  for (const auto& word : words) {
    const auto found = languages_of_words().find(word);
    if (found == languages_of_words().end()) continue;
    for (const size_t language : found->second)
      scores[language] += 1.0 / static_cast<double>(found->second.size());
  }
  return scores;
}

size_t best(const Scores& scores) {
  return static_cast<size_t>(std::ranges::max_element(scores) - scores.begin());
}

// A text that begins with the prompt's own words and goes on in another language gives itself away
// by what it adds.
std::vector<std::u32string> added_words(const std::vector<std::u32string>& before,
                                        const std::vector<std::u32string>& after) {
  std::multiset<std::u32string> there(before.begin(), before.end());
  std::vector<std::u32string> added;
  for (const auto& word : after)
    if (const auto known = there.find(word); known != there.end())
      there.erase(known);
    else
      added.push_back(word);
  return added;
}

bool changes_european_language(std::u32string_view prompt, std::u32string_view text) {
  constexpr double enough_to_tell = 0.5, enough_of_a_text = 1;
  const auto words = words_of(prompt);
  const Scores before = score(words), after = score(added_words(words, words_of(text)));
  const size_t was = best(before), is = best(after);
  if (was == is || before[was] < enough_to_tell || after[is] < enough_of_a_text) return false;
  return before[is] < before[was] * 0.85 && after[was] < after[is] / 2;
}

// Letters by script; Han and kana, which say more each, count threefold. Kana are also counted by
// themselves.
struct Letters {
  std::array<int64_t, 11> by_script{};
  int64_t all = 0, dense = 0, kana = 0;

  explicit Letters(std::u32string_view text) {
    for (const char32_t c : text) {
      const Script script = script_of(c);
      if (script == Script::none) continue;
      const bool east_asian = script == Script::han || script == Script::kana;
      const int64_t weight = east_asian ? 3 : 1;
      by_script[static_cast<size_t>(east_asian ? Script::han : script)] += weight;
      all += weight;
      dense += east_asian;
      kana += script == Script::kana;
    }
  }
  size_t main() const {
    return static_cast<size_t>(std::ranges::max_element(by_script) - by_script.begin());
  }
};

// Han and kana that carry no meaning of their own.
constexpr std::u32string_view particles =
    U"的了在是一个個着著和与與有上中里裡のをにはがでともへやから";

bool loses_characters(std::u32string_view prompt, std::u32string_view text) {
  std::set<char32_t> wanted, there;
  for (const char32_t c : prompt) {
    const Script script = script_of(c);
    const bool judged = script == Script::han || script == Script::kana || script == Script::hangul;
    if (!judged || particles.find(c) != particles.npos) continue;
    wanted.insert(c);
    if (text.find(c) != text.npos) there.insert(c);
  }
  return there.size() * 2 < wanted.size();
}

bool has_stems(Script script) {
  return script == Script::latin || script == Script::greek || script == Script::cyrillic;
}

// `word` of a text says what `wanted` of the prompt says.
bool same_subject(const std::u32string& wanted, const std::u32string& word) {
  const std::u32string stem = stem_of(wanted);
  if (stem == stem_of(word)) return true;
  constexpr size_t long_enough_inside = 5;  // of a compound
  if (stem.size() >= long_enough_inside) return word.find(stem) != word.npos;
  return word.starts_with(stem) && word.size() <= wanted.size() + 2;
}

}  // namespace

bool is_function_word(std::u32string_view word) {
  return languages_of_words().contains(std::u32string(word));
}

bool changes_language(std::u32string_view prompt, std::u32string_view text) {
  const Letters before(prompt), after(text);
  if (before.all == 0 || after.all == 0) return false;
  // A prompt in two scripts may be continued in either.
  const bool present = before.by_script[after.main()] * 10 >= before.all * 3;
  if (!present && after.main() != before.main()) return true;
  if (before.main() == static_cast<size_t>(Script::han) && after.dense > 0) {
    const bool was_japanese = before.kana > 0, is_japanese = after.kana * 10 >= after.dense;
    return was_japanese != is_japanese;
  }
  return before.main() == static_cast<size_t>(Script::latin) &&
         changes_european_language(prompt, text);
}

bool loses_subject(std::u32string_view prompt, std::u32string_view text) {
  if (loses_characters(prompt, text)) return true;
  constexpr size_t shortest_content_word = 3;
  std::set<std::u32string> wanted;
  for (const auto& word : words_of(prompt))
    if (has_stems(script_of(word.front())) && word.size() >= shortest_content_word &&
        !is_function_word(word))
      wanted.insert(word);
  const auto words = words_of(text);
  const auto there = std::ranges::count_if(wanted, [&](const std::u32string& word) {
    return std::ranges::any_of(words, [&](const auto& each) { return same_subject(word, each); });
  });
  return static_cast<size_t>(there) * 2 < wanted.size();
}

}  // namespace backlot
