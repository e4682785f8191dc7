// Tokens to statements, by the grammar of Jinja2's parser.py.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace backlot::jinja {

// Throws SyntaxError, also for tags that chat templates have no use for, such as include.
Block parse_template(std::string_view source);

// The part of the parser that both expressions and statements use.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& following() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token next();

  bool at(Token::Kind kind) const { return current().kind == kind; }
  bool at_op(std::string_view op) const;
  bool at_name(std::string_view name) const;
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  void expect(Token::Kind kind, std::string_view what);
  std::string expect_identifier();
  [[noreturn]] void fail(std::string what) const;

  // How deep the parser is inside of nested things.
  class Nesting {
   public:
    explicit Nesting(TokenStream& stream);
    ~Nesting() { --stream_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    TokenStream& stream_;
  };

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

  enum class Conditions { allowed, left };  // "a if b else c"; a for's own "if" is left to it

  // One expression, or a tuple without parentheses.
  ExpressionPtr tuple(Conditions conditions = Conditions::allowed);
  ExpressionPtr expression(Conditions conditions = Conditions::allowed);
  ExpressionPtr unary_with_postfix();
  // `| name(…)` with nothing before: for filter and set blocks.
  Expressions filter_chain();
  ExpressionPtr first_filter();

 private:
  using Parse = ExpressionPtr (ExpressionParser::*)();
  ExpressionPtr left_associative(Parse operand, std::initializer_list<std::string_view> ops);
  ExpressionPtr disjunction();
  ExpressionPtr conjunction();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary() { return unary(true); }
  ExpressionPtr unary(bool with_filters);
  ExpressionPtr primary();
  ExpressionPtr postfix(ExpressionPtr object);
  ExpressionPtr filters_and_tests(ExpressionPtr object);
  ExpressionPtr filter(ExpressionPtr input);
  ExpressionPtr test(ExpressionPtr input);
  ExpressionPtr attribute(ExpressionPtr object);
  ExpressionPtr subscript(ExpressionPtr object);
  ExpressionPtr parenthesised();
  ExpressionPtr list_display();
  ExpressionPtr dict_display();
  CallArguments call_arguments();
  bool at_tuple_end() const;

  template <typename Node>
  ExpressionPtr make(Node node, size_t line);

  TokenStream& stream_;
};

}  // namespace backlot::jinja
