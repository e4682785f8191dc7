#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/parser.h"

namespace backlot::jinja {

using Kind = Token::Kind;

template <typename Node>
ExpressionPtr ExpressionParser::make(Node node, size_t line) {
  constexpr int deepest = 200;
  Expression expression{std::move(node), line, 1};
  expression.depth = 1 + depth_inside(expression);
  if (expression.depth > deepest) stream_.fail("an expression is too long");
  return std::make_unique<const Expression>(std::move(expression));
}

bool ExpressionParser::at_tuple_end() const {
  return stream_.at(Kind::variable_end) || stream_.at(Kind::block_end) || stream_.at_op(")");
}

ExpressionPtr ExpressionParser::tuple(Conditions conditions) {
  const size_t line = stream_.current().line;
  Expressions items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty() && !stream_.skip_op(",")) break;
    is_tuple |= !items.empty();
    if (at_tuple_end()) break;
    items.push_back(expression(conditions));
  }
  if (is_tuple) return make(TupleDisplay{std::move(items)}, line);
  if (items.empty()) stream_.fail("an expression is missing");
  return std::move(items[0]);
}

ExpressionPtr ExpressionParser::expression(Conditions conditions) {
  const TokenStream::Nesting nesting(stream_);
  const size_t line = stream_.current().line;
  ExpressionPtr value = disjunction();
  if (conditions == Conditions::left) return value;
  while (stream_.skip_name("if")) {
    ExpressionPtr condition = disjunction(), otherwise;
    if (stream_.skip_name("else")) otherwise = expression();
    value = make(Conditional{std::move(value), std::move(condition), std::move(otherwise)}, line);
  }
  return value;
}

ExpressionPtr ExpressionParser::left_associative(Parse operand,
                                                 std::initializer_list<std::string_view> ops) {
  const size_t line = stream_.current().line;
  ExpressionPtr left = (this->*operand)();
  while (true) {
    const auto is_here = [this](std::string_view op) {
      return stream_.at_op(op) || ((op == "and" || op == "or") && stream_.at_name(op));
    };
    const auto* op = std::find_if(ops.begin(), ops.end(), is_here);
    if (op == ops.end()) return left;
    stream_.next();
    left = make(Binary{std::string(*op), std::move(left), (this->*operand)()}, line);
  }
}

ExpressionPtr ExpressionParser::disjunction() {
  return left_associative(&ExpressionParser::conjunction, {"or"});
}

ExpressionPtr ExpressionParser::conjunction() {
  return left_associative(&ExpressionParser::negation, {"and"});
}

ExpressionPtr ExpressionParser::negation() {
  const size_t line = stream_.current().line;
  if (!stream_.skip_name("not")) return comparison();
  const TokenStream::Nesting nesting(stream_);
  return make(Unary{"not", negation()}, line);
}

ExpressionPtr ExpressionParser::comparison() {
  const size_t line = stream_.current().line;
  Comparison node{sum(), {}};
  while (true) {
    static constexpr std::string_view ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    const auto* op = std::find_if(std::begin(ops), std::end(ops),
                                  [this](auto text) { return stream_.at_op(text); });
    std::string found;
    if (op != std::end(ops)) {
      found = *op;
    } else if (stream_.at_name("in")) {
      found = "in";
    } else if (stream_.at_name("not") && stream_.following().kind == Kind::name &&
               stream_.following().text == "in") {
      stream_.next();
      found = "not in";
    } else {
      break;
    }
    stream_.next();
    node.rest.emplace_back(found, sum());
  }
  if (node.rest.empty()) return std::move(node.first);
  return make(std::move(node), line);
}

ExpressionPtr ExpressionParser::sum() {
  return left_associative(&ExpressionParser::concatenation, {"+", "-"});
}

ExpressionPtr ExpressionParser::concatenation() {
  return left_associative(&ExpressionParser::product, {"~"});
}

ExpressionPtr ExpressionParser::product() {
  return left_associative(&ExpressionParser::power, {"*", "/", "//", "%"});
}

ExpressionPtr ExpressionParser::power() {
  return left_associative(&ExpressionParser::unary, {"**"});
}

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  const TokenStream::Nesting nesting(stream_);
  const size_t line = stream_.current().line;
  ExpressionPtr node;
  if (stream_.at_op("-") || stream_.at_op("+")) {
    const std::string op = stream_.next().text;
    node = make(Unary{op, unary(false)}, line);
  } else {
    node = primary();
  }
  node = postfix(std::move(node));
  return with_filters ? filters_and_tests(std::move(node)) : std::move(node);
}

ExpressionPtr ExpressionParser::unary_with_postfix() { return unary(true); }

ExpressionPtr ExpressionParser::primary() {
  const Token token = stream_.current();
  const auto constant = [&](Value value) { return make(Constant{std::move(value)}, token.line); };
  switch (token.kind) {
    case Kind::name:
      stream_.next();
      if (token.text == "true" || token.text == "True") return constant(Value::of(true));
      if (token.text == "false" || token.text == "False") return constant(Value::of(false));
      if (token.text == "none" || token.text == "None") return constant(Value::none());
      return make(Name{token.text}, token.line);
    case Kind::text: {
      std::string text;  // neighbours are one text
      while (stream_.at(Kind::text)) text += stream_.next().text;
      return constant(Value::of(std::move(text)));
    }
    case Kind::integer:
      stream_.next();
      return constant(Value::of(token.integer));
    case Kind::real:
      stream_.next();
      return constant(Value::of(token.real));
    default:
      if (stream_.at_op("(")) return parenthesised();
      if (stream_.at_op("[")) return list_display();
      if (stream_.at_op("{")) return dict_display();
      stream_.fail("an expression is missing");
  }
}

ExpressionPtr ExpressionParser::parenthesised() {
  const size_t line = stream_.next().line;
  if (stream_.skip_op(")")) return make(TupleDisplay{}, line);
  ExpressionPtr value = tuple();
  stream_.expect_op(")");
  return value;
}

ExpressionPtr ExpressionParser::list_display() {
  const size_t line = stream_.next().line;
  ListDisplay display;
  while (!stream_.at_op("]")) {
    if (!display.items.empty()) stream_.expect_op(",");
    if (stream_.at_op("]")) break;
    display.items.push_back(expression());
  }
  stream_.expect_op("]");
  return make(std::move(display), line);
}

ExpressionPtr ExpressionParser::dict_display() {
  const size_t line = stream_.next().line;
  DictDisplay display;
  while (!stream_.at_op("}")) {
    if (!display.entries.empty()) stream_.expect_op(",");
    if (stream_.at_op("}")) break;
    ExpressionPtr key = expression();
    stream_.expect_op(":");
    display.entries.emplace_back(std::move(key), expression());
  }
  stream_.expect_op("}");
  return make(std::move(display), line);
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr object) {
  while (true) {
    const size_t line = stream_.current().line;
    if (stream_.at_op("."))
      object = attribute(std::move(object));
    else if (stream_.at_op("["))
      object = subscript(std::move(object));
    else if (stream_.at_op("("))
      object = make(Call{std::move(object), call_arguments()}, line);
    else
      return object;
  }
}

ExpressionPtr ExpressionParser::attribute(ExpressionPtr object) {
  const size_t line = stream_.next().line;
  const Token token = stream_.next();
  if (token.kind == Kind::name) return make(Attribute{std::move(object), token.text}, line);
  if (token.kind != Kind::integer) stream_.fail("a name belongs after the dot");
  return make(Subscript{std::move(object), make(Constant{Value::of(token.integer)}, token.line)},
              line);
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr object) {
  const size_t line = stream_.next().line;
  const auto part = [&]() -> ExpressionPtr {
    return stream_.at_op(":") || stream_.at_op("]") ? nullptr : expression();
  };
  ExpressionPtr begin = part();
  if (stream_.skip_op("]")) {
    if (!begin) stream_.fail("an index is missing");
    return make(Subscript{std::move(object), std::move(begin)}, line);
  }
  stream_.expect_op(":");
  ExpressionPtr end = part(), step;
  if (stream_.skip_op(":")) step = part();
  stream_.expect_op("]");
  return make(Slice{std::move(object), std::move(begin), std::move(end), std::move(step)}, line);
}

ExpressionPtr ExpressionParser::filters_and_tests(ExpressionPtr object) {
  while (true) {
    if (stream_.at_op("|")) {
      stream_.next();
      object = filter(std::move(object));
    } else if (stream_.at_name("is")) {
      stream_.next();
      object = test(std::move(object));
    } else if (stream_.at_op("(")) {
      const size_t line = stream_.current().line;
      object = make(Call{std::move(object), call_arguments()}, line);
    } else {
      return object;
    }
  }
}

ExpressionPtr ExpressionParser::filter(ExpressionPtr input) {
  const size_t line = stream_.current().line;
  Filter node{std::move(input), stream_.expect_identifier(), {}};
  if (stream_.at_op("(")) node.arguments = call_arguments();
  return make(std::move(node), line);
}

ExpressionPtr ExpressionParser::first_filter() { return filter(nullptr); }

Expressions ExpressionParser::filter_chain() {
  Expressions filters;
  while (stream_.skip_op("|")) filters.push_back(filter(nullptr));
  return filters;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr input) {
  const size_t line = stream_.current().line;
  const bool negated = stream_.skip_name("not");
  Test node{std::move(input), stream_.expect_identifier(), {}};
  const Token& token = stream_.current();
  const bool begins_argument = token.kind == Kind::text || token.kind == Kind::integer ||
                               token.kind == Kind::real || stream_.at_op("[") ||
                               stream_.at_op("{") ||
                               (token.kind == Kind::name && token.text != "else" &&
                                token.text != "or" && token.text != "and");
  if (stream_.at_op("(")) {
    node.arguments = call_arguments();
  } else if (begins_argument) {
    if (stream_.at_name("is")) stream_.fail("tests can't be chained");
    const TokenStream::Nesting nesting(stream_);
    ExpressionPtr argument = primary();
    node.arguments.positional.push_back(postfix(std::move(argument)));
  }
  ExpressionPtr result = make(std::move(node), line);
  return negated ? make(Unary{"not", std::move(result)}, line) : std::move(result);
}

CallArguments ExpressionParser::call_arguments() {
  const TokenStream::Nesting nesting(stream_);
  stream_.expect_op("(");
  CallArguments arguments;
  for (bool first = true; !stream_.at_op(")"); first = false) {
    if (!first) stream_.expect_op(",");
    if (stream_.at_op(")")) break;
    if (stream_.at_op("*") || stream_.at_op("**"))
      stream_.fail("arguments from a list or dict are not supported");
    const bool is_named = stream_.at(Kind::name) && stream_.following().kind == Kind::op &&
                          stream_.following().text == "=";
    if (is_named) {
      const std::string name = stream_.next().text;
      stream_.next();
      arguments.named.emplace_back(name, expression());
    } else {
      if (!arguments.named.empty()) stream_.fail("an argument without a name follows named ones");
      arguments.positional.push_back(expression());
    }
  }
  stream_.expect_op(")");
  return arguments;
}

}  // namespace backlot::jinja
