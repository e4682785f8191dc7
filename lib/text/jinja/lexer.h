// The tokens of a template, as Jinja2's lexer gives them with trim_blocks and lstrip_blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace backlot::jinja {

struct Token {
  enum class Kind {
    data,  // text outside of tags
    block_begin,
    block_end,
    variable_begin,
    variable_end,
    name,
    text,
    integer,
    real,
    op,
    end
  };
  Kind kind = Kind::end;
  std::string text;  // of data, names, texts (unescaped) and operators
  int64_t integer = 0;
  double real = 0;
  size_t line = 1;
};

// Errors in a template that are found before it is rendered, with the line.
struct SyntaxError {
  std::string what;
  size_t line;
};

// Throws SyntaxError. The last token is `end`.
std::vector<Token> tokens_of(std::string_view source);

// What Python's str.isspace() says of one character.
bool is_python_space(char32_t c);

}  // namespace backlot::jinja
