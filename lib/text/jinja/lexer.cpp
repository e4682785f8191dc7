#include "text/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/utf8.h"
#include "text/jinja/escapes.h"
#include "text/unicode.h"

namespace backlot::jinja {
namespace {

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The length of the white space that `text` begins with.
size_t leading_space(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    size_t length = 1;
    while (at + length < text.size() && (text[at + length] & 0xC0) == 0x80) ++length;
    if (!is_python_space(decode_utf8(text.substr(at, length))[0])) break;
    at += length;
  }
  return at;
}

std::string_view without_trailing_space(std::string_view text) {
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (text[begin] & 0xC0) == 0x80) --begin;
    if (!is_python_space(decode_utf8(text.substr(begin))[0])) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

// Line feeds in place of other line ends, and none at the very end.
std::string normalised(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r')
      text += source[i];
    else if (i + 1 == source.size() || source[i + 1] != '\n')
      text += '\n';
  }
  if (text.ends_with('\n')) text.pop_back();
  return encode_utf8(decode_utf8(text));
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalised(source)), rest_(source_) {}

  std::vector<Token> run() {
    while (!rest_.empty()) {
      const size_t begin = next_tag();
      if (begin == std::string_view::npos) {
        add_data(rest_);
        break;
      }
      take_tag(begin);
    }
    add(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  size_t next_tag() const {
    size_t at = rest_.find('{');
    while (at != std::string_view::npos && at + 1 < rest_.size()) {
      if (std::string_view("{%#").find(rest_[at + 1]) != std::string_view::npos) return at;
      at = rest_.find('{', at + 1);
    }
    return std::string_view::npos;
  }

  // Takes the data before a tag, the tag and what is inside it.
  void take_tag(size_t begin) {
    const char kind = rest_[begin + 1];
    const char sign = begin + 2 < rest_.size() ? rest_[begin + 2] : '\0';
    const bool signed_tag = sign == '-' || sign == '+';
    const std::string_view data = stripped(rest_.substr(0, begin), signed_tag ? sign : '\0', kind);
    add_data(data);
    consume(begin);
    const size_t opening = signed_tag ? 3 : 2;
    if (kind == '#') return take_comment(opening);
    if (kind == '%' && take_raw(opening)) return;
    consume(opening);
    add(kind == '%' ? Token::Kind::block_begin : Token::Kind::variable_begin, "");
    take_expression(kind == '%' ? '%' : '}');
  }

  std::string_view stripped(std::string_view data, char sign, char kind) const {
    if (sign == '-') return without_trailing_space(data);
    if (sign == '+' || kind == '{') return data;
    const size_t line_begin = data.rfind('\n') + 1;
    if (line_begin == 0 && !line_starting_) return data;
    const auto indentation = data.substr(line_begin);
    return leading_space(indentation) == indentation.size() ? data.substr(0, line_begin) : data;
  }

  void take_comment(size_t opening) {
    const size_t end = rest_.find("#}", opening);
    if (end == std::string_view::npos) fail("a comment has no end");
    // "{#-}" is no end: the sign belongs to the opening.
    const char sign = end > opening ? rest_[end - 1] : '\0';
    consume(end);
    take_end(sign, true);
  }

  // Consumes the two characters that end a tag and the white space that goes with them.
  void take_end(char sign, bool takes_line_feed) {
    size_t length = 2;
    if (sign == '-')
      length += leading_space(rest_.substr(2));
    else if (sign != '+' && takes_line_feed && rest_.substr(2).starts_with('\n'))
      ++length;
    line_starting_ = rest_[length - 1] == '\n';
    consume(length);
  }

  // {% raw %} … {% endraw %}; whether it was one.
  bool take_raw(size_t opening) {
    const auto close = closing_of("raw", rest_.substr(opening));
    if (!close) return false;
    consume(opening + close->begin);
    take_end(close->sign, false);
    for (size_t at = 0; (at = rest_.find("{%", at)) != std::string_view::npos; at += 2) {
      size_t inside = at + 2;
      char sign = '\0';
      if (inside < rest_.size() && (rest_[inside] == '-' || rest_[inside] == '+'))
        sign = rest_[inside++];
      const auto end = closing_of("endraw", rest_.substr(inside));
      if (!end) continue;
      add_data(stripped(rest_.substr(0, at), sign, '%'));
      consume(inside + end->begin);
      take_end(end->sign, true);
      return true;
    }
    fail("raw has no endraw");
  }

  struct Closing {
    size_t begin;  // of "%}"
    char sign;
  };
  static std::optional<Closing> closing_of(std::string_view word, std::string_view text) {
    size_t at = leading_space(text);
    if (!text.substr(at).starts_with(word)) return std::nullopt;
    at += word.size();
    at += leading_space(text.substr(at));
    char sign = '\0';
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) sign = text[at++];
    if (!text.substr(at).starts_with("%}")) return std::nullopt;
    return Closing{at, sign};
  }

  // The tokens of a tag up to its end, "%}" or "}}".
  void take_expression(char closing) {
    const std::string end = {closing, '}'};
    std::string open;  // brackets
    while (true) {
      consume(leading_space(rest_));
      if (rest_.empty()) fail("a tag has no end");
      const bool has_sign = rest_[0] == '-' || (rest_[0] == '+' && closing == '%');
      if (open.empty() && rest_.substr(has_sign).starts_with(end)) {
        const char sign = has_sign ? rest_[0] : '\0';
        consume(has_sign);
        add(closing == '%' ? Token::Kind::block_end : Token::Kind::variable_end, "");
        return take_end(sign, closing == '%');
      }
      take_token(open);
    }
  }

  void take_token(std::string& open) {
    const char c = rest_[0];
    if (is_name_start(c)) return take_name();
    if (is_digit(c)) return take_number();
    if (c == '\'' || c == '"') return take_text(c);
    static constexpr std::string_view operators[] = {
        "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<",
        ">",  "=",  ".",  ":",  "|",  ",",  ";", "(", ")", "[", "]", "{", "}"};
    const auto* found = std::find_if(std::begin(operators), std::end(operators),
                                     [&](auto text) { return rest_.starts_with(text); });
    if (found == std::end(operators)) fail(fmt::format("unexpected '{}'", c));
    constexpr std::string_view openers = "([{", closers = ")]}";
    if (openers.find(c) != std::string_view::npos) open += closers[openers.find(c)];
    if (closers.find(c) != std::string_view::npos) {
      if (open.empty() || open.back() != c) fail(fmt::format("unexpected '{}'", c));
      open.pop_back();
    }
    add(Token::Kind::op, std::string(*found));
    consume(found->size());
  }

  void take_name() {
    size_t length = 1;
    while (length < rest_.size() && (is_name_start(rest_[length]) || is_digit(rest_[length])))
      ++length;
    add(Token::Kind::name, std::string(rest_.substr(0, length)));
    consume(length);
  }

  void take_text(char quote) {
    size_t end = 1;
    while (end < rest_.size() && rest_[end] != quote) end += rest_[end] == '\\' ? 2 : 1;
    if (end >= rest_.size()) fail("a text has no closing quote");
    try {
      add(Token::Kind::text, unescaped(rest_.substr(1, end - 1)));
    } catch (const std::invalid_argument& error) {
      fail(error.what());
    }
    consume(end + 1);
  }

  size_t digits(size_t at) const {
    while (at < rest_.size() &&
           (is_digit(rest_[at]) ||
            (rest_[at] == '_' && at + 1 < rest_.size() && is_digit(rest_[at + 1]))))
      ++at;
    return at;
  }

  void take_number() {
    size_t end = digits(0);
    bool whole = true;
    if (end + 1 < rest_.size() && rest_[end] == '.' && is_digit(rest_[end + 1])) {
      end = digits(end + 1);
      whole = false;
    }
    if (end < rest_.size() && (rest_[end] == 'e' || rest_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < rest_.size() && (rest_[exponent] == '+' || rest_[exponent] == '-')) ++exponent;
      if (digits(exponent) > exponent) {
        end = digits(exponent);
        whole = false;
      }
    }
    std::string number(rest_.substr(0, end));
    std::erase(number, '_');
    add(whole ? Token::Kind::integer : Token::Kind::real, number);
    const char* last = number.data() + number.size();
    const auto error = whole ? std::from_chars(number.data(), last, tokens_.back().integer).ec
                             : std::from_chars(number.data(), last, tokens_.back().real).ec;
    if (error != std::errc()) fail(fmt::format("the number {} is too large", number));
    if (whole && number.size() > 1 && number[0] == '0' &&
        number.find_first_not_of('0') != std::string::npos)
      fail(fmt::format("the number {} begins with 0", number));
    consume(end);
    if (!rest_.empty() && is_name_start(rest_[0])) fail("a name stands right after a number");
  }

  void add(Token::Kind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.text = std::move(text);
    token.line = line_;
    tokens_.push_back(std::move(token));
  }

  void add_data(std::string_view data) {
    if (!data.empty()) add(Token::Kind::data, std::string(data));
  }

  void consume(size_t length) {
    line_ += static_cast<size_t>(std::count(rest_.begin(), rest_.begin() + length, '\n'));
    rest_.remove_prefix(length);
  }

  [[noreturn]] void fail(std::string what) const { throw SyntaxError{std::move(what), line_}; }

  std::string source_;
  std::string_view rest_;
  std::vector<Token> tokens_;
  size_t line_ = 1;
  bool line_starting_ = true;  // whether what was taken last ended a line
};

}  // namespace

bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1c && c <= 0x1f); }

std::vector<Token> tokens_of(std::string_view source) { return Lexer(source).run(); }

}  // namespace backlot::jinja
