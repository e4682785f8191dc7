#include "enhance/mend.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/text.h"
#include "base/utf8.h"
#include "enhance/words.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace backlot {
namespace {

// Ways into an answer, in the languages that models answer in.
const std::string opening =
    R"((?:(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|great|here(?:'s|’s| is| are)|)"
    R"(below is|this is (?:a|an|the|my|your)|voici|bien sûr|natürlich|gerne|hier ist|hier sind|claro|)"
    R"(por supuesto|aquí está|ecco|certo|aqui está)\b|好的|当然|以下是|这是|はい|以下は|こちら))";

// The words of labels before a text.
const std::string label =
    R"((?:(?:enhanced|improved|rewritten|rewrite|revised|expanded|detailed|final|new|short|your|the|)"
    R"(image|picture|photo|video|text-to-image|text-to-video|positive|verbesserter?|neuer?|)"
    R"(erweiterter?|nouveau|nuevo|nuovo|novo)\s+){0,4})"
    R"((?:prompt|description|caption|output|answer|response|result|assistant|image|scene|)"
    R"(beschreibung|descripción|descrizione|descrição|提示词|提示|描述|画面描述|プロンプト|説明))"
    R"((?:\s+(?:amélioré|améliorée|mejorado|mejorada|migliorato|melhorado))?\s*\d{0,2})";

const Regex& regex(const std::string& pattern) {
  thread_local std::vector<std::pair<std::string, Regex>> compiled;
  for (const auto& [known, each] : compiled)
    if (known == pattern) return each;
  compiled.reserve(64);  // references stay good
  return compiled.emplace_back(pattern, Regex("(*UCP)(?i)" + pattern)).second;
}

// The first match, as a part of `text`.
std::optional<std::string_view> match(std::string_view text, const std::string& pattern) {
  const auto found = regex(pattern).find_all(text);
  return found.empty() ? std::nullopt : std::optional(found.front());
}

size_t place(std::string_view part, std::string_view text) {
  return static_cast<size_t>(part.data() - text.data());
}

// Removes a match that `pattern` ties to the beginning; true if there was one.
bool remove_front(std::string& text, const std::string& pattern) {
  const auto found = match(text, pattern);
  if (!found) return false;
  text.erase(0, found->size());
  return true;
}

std::string without(const std::string& text, const std::string& pattern) {
  const auto& parts = regex(pattern);
  std::string out;
  size_t done = 0;
  for (const auto part : parts.find_all(text)) {
    out.append(text, done, place(part, text) - done);
    done = place(part, text) + part.size();
  }
  return out.append(text, done);
}

// Terminal sequences, controls, and marks that change the direction or hide; lines stay.
std::string without_controls(std::string_view bytes) {
  std::string text = encode_utf8(decode_utf8(bytes));
  // CSI … final byte, OSC … BEL or ST, and escapes of two bytes.
  text = without(text, R"((?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?)"
                       R"(|\x1b[ -/]*[0-~])");
  text = without(text, R"([\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}\x{feff}])");
  text = without(text, R"([\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}])");
  // What was cut within a character leaves U+FFFD at the end.
  while (text.ends_with("\xEF\xBF\xBD")) text.resize(text.size() - 3);
  return encode_utf8(nfc(decode_utf8(text)));
}

std::string without_special_tokens(std::string text) {
  const std::string special =
      R"((?:<[|｜][^|｜<>\s]{1,40}[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<eos>|<bos>)"
      R"(|<pad>|<unk>))";
  while (remove_front(text, R"(\A\s*)" + special + R"((?:(?:assistant|user|system|model)\s*\n)?)"))
    ;
  if (const auto found = match(text, special)) text.resize(place(*found, text));
  return text;
}

struct Paragraphs {
  std::vector<std::string> texts;
  int64_t list_lines = 0;
};

Paragraphs paragraphs_of(const std::string& text) {
  Paragraphs out;
  bool open = false;
  for (const auto& each : split(text, '\n')) {
    std::string line(trim(each));
    if (line.empty() || match(line, R"(\A(?:`{3,}\w*|[-*_=]{3,})\z)")) {
      open = false;
      continue;
    }
    remove_front(line, R"(\A#{1,6}\s+)");
    if (remove_front(line, R"(\A(?:[-*+•·]|\d{1,2}[.)])\s+(?=\S))")) ++out.list_lines;
    if (open)
      out.texts.back() += " " + line;
    else
      out.texts.push_back(std::move(line));
    open = true;
  }
  return out;
}

int64_t words_in(std::string_view text) { return count_words(decode_utf8(text)); }

// A paragraph that only announces the next one.
bool announces(const std::string& paragraph) {
  constexpr int64_t most_words = 30;
  if (words_in(paragraph) > most_words) return false;
  return match(paragraph, R"(\A["“*_]*)" + opening + R"(.*[:：!！.。][*_]*\z)") ||
         match(paragraph, R"(\A["“*_]*)" + label + R"(["”*_]*\s*[:：]?[*_]*\z)");
}

void remove_lead(std::string& text) {
  text = without(text, R"(\*\*|__|`)");
  // "Sure! Here is a prompt for you: "
  remove_front(text, R"(\A["“]?)" + opening + R"([^:：.!]{0,40}[!.]?[^:：.!\n]{0,120}[:：]\s*)");
  remove_front(text,
               R"(\A(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|great|natürlich|)"
               R"(gerne|bien sûr|claro|certo|好的|当然)[!,.！，。]\s*)");
  remove_front(text, R"(\A["“'*_]*)" + label + R"(["”'*_]*\s*[:：]\s*[*_]*)");
}

// Sentences after the text that speak of it or to somebody.
void remove_remarks(std::string& text, int64_t min_words) {
  const auto found = match(
      text,
      R"([.!?。！？"”]\s*(?:\((?:note|word|this)|note that|note:|please note|let me know|i hope|)"
      R"(hope this|feel free|would you like|if you(?:'d| would) like|you can (?:also )?(?:use|adjust)|)"
      R"((?:this|the|my|your) (?:new |rewritten |enhanced )?(?:prompt|description|version|rewrite)\b|)"
      R"(remember to |请注意|希望这|如果您))");
  if (!found) return;
  const size_t end = place(*found, text) + encode_utf8(decode_utf8(*found).substr(0, 1)).size();
  if (words_in(std::string_view(text).substr(0, end)) >= min_words) text.resize(end);
}

struct Quotes {
  char32_t open;
  std::u32string_view close;
};
constexpr Quotes quotes[] = {{U'"', U"\""}, {U'“', U"”\""}, {U'„', U"“”\""}, {U'«', U"»"},
                             {U'»', U"«"},  {U'「', U"」"}, {U'『', U"』"},  {U'《', U"》"},
                             {U'\'', U"'"}, {U'‘', U"’'"}};

// Quotes around all of it, or around its beginning with remarks behind; a mark that has lost its
// partner.
std::string without_quotes(const std::string& quoted, int64_t min_words) {
  std::u32string text = decode_utf8(quoted);
  for (const auto& [open, close] : quotes) {
    if (text.empty() || text.front() != open) continue;
    const bool apostrophe = open == U'\'' || open == U'‘';
    const size_t end = apostrophe ? text.find_last_of(close) : text.find_first_of(close, 1);
    if (end == text.npos || end == 0) {
      if (!apostrophe) text.erase(0, 1);
      break;
    }
    const bool whole = end + 2 >= text.size();  // perhaps with a full stop behind it
    const std::u32string inside = text.substr(1, end - 1);
    if (whole || (!apostrophe && count_words(inside) >= min_words)) text = inside;
    break;
  }
  if (std::ranges::count(text, U'"') == 1 && (text.front() == U'"' || text.back() == U'"'))
    std::erase(text, U'"');
  return encode_utf8(text);
}

std::string with_single_spaces(const std::string& text) {
  std::u32string out;
  for (const char32_t c : decode_utf8(text)) {
    const bool space = is_white_space(c);
    if (!space)
      out += c;
    else if (!out.empty() && out.back() != U' ')
      out += U' ';
  }
  if (!out.empty() && out.back() == U' ') out.pop_back();
  return encode_utf8(out);
}

}  // namespace

MendedText mend(std::string_view made, int64_t min_words) {
  std::string text = without_controls(made);
  remove_front(text, R"(\A\s*<think>(?s:.*?)</think>)");
  if (match(text, R"(\A\s*<think>)")) return {"", "ends while the model still thinks"};
  Paragraphs found = paragraphs_of(without_special_tokens(std::move(text)));
  auto& paragraphs = found.texts;
  while (paragraphs.size() > 1 && announces(paragraphs.front()))
    paragraphs.erase(paragraphs.begin());
  if (paragraphs.empty()) return {"", "is empty"};
  if (found.list_lines > 1) return {"", "is a list"};
  text = std::move(paragraphs.front());
  if (paragraphs.size() > 1 && words_in(text) < min_words) return {"", "has several paragraphs"};
  remove_lead(text);
  text = without_quotes(std::string(trim(text)), min_words);
  remove_lead(text);
  remove_remarks(text, min_words);
  text = without(text, R"((?<!\w)\*|\*(?!\w))");
  return {with_single_spaces(without_quotes(std::string(trim(text)), min_words)), ""};
}

std::string chatter_in(const std::string& text, const std::string& prompt) {
  const auto has = [&](const std::string& pattern) {
    return match(text, pattern) && !match(prompt, pattern);
  };
  if (has(R"(\b(?:i(?:'|’)?m sorry|i am sorry|i apologi[sz]e|i can(?:no|'|’)t|i(?:'|’)?m (?:not )?(?:un)?able)"
          R"(|i am (?:not )?(?:un)?able|i won(?:'|’)t|as an ai|language model|es tut mir leid|)"
          R"(ich kann (?:dir |ihnen |das )?nicht|je suis désolée?|je ne peux pas|lo siento|no puedo|)"
          R"(mi dispiace|desculpe)\b|抱歉|对不起|作为.{0,6}(?:ai|人工智能|语言模型)|申し訳)"))
    return "is a refusal";
  if (has(R"(\b(?:the|this|your|my|a) (?:\w+ )?(?:prompt|rewrite)s?\b|\bthe user\b|\bas requested\b)"
          R"(|\blet me know\b|\btext-to-(?:image|video)\b|\bword count\b|\byou asked\b|\bhere(?:'|’)s\b)"
          R"(|\A(?:sure|certainly|here (?:is|are)|of course)\b|提示词|プロンプト)"))
    return "talks about the task";
  if (has(R"(<[|｜]|[|｜]>|</?s>|\[/?INST\]|</?think>)")) return "holds the model's special tokens";
  if (has(R"(https?://|\x{fffd})")) return "holds what no prompt needs";
  return "";
}

}  // namespace backlot
