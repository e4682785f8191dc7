#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/parser.h"

namespace backlot::jinja {
namespace {

using Kind = Token::Kind;
using Conditions = ExpressionParser::Conditions;

std::string shown(const Token& token) {
  switch (token.kind) {
    case Kind::end:
      return "the end of the template";
    case Kind::block_end:
    case Kind::variable_end:
      return "the end of the tag";
    case Kind::data:
    case Kind::block_begin:
    case Kind::variable_begin:
      return "text";
    default:
      return fmt::format("'{}'", token.text.substr(0, 40));
  }
}

class TemplateParser {
 public:
  explicit TemplateParser(std::vector<Token> tokens)
      : stream_(std::move(tokens)), expressions_(stream_) {}

  Block run() {
    Block block = body({});
    if (!stream_.at(Kind::end)) stream_.fail("what has no beginning ends here");
    return block;
  }

 private:
  // Statements up to a tag with one of the `ends`, whose name is not taken.
  Block body(std::initializer_list<std::string_view> ends) {
    const TokenStream::Nesting nesting(stream_);
    Block block;
    while (!stream_.at(Kind::end)) {
      const size_t line = stream_.current().line;
      if (stream_.at(Kind::data)) {
        block.push_back({Data{stream_.next().text}, line});
      } else if (stream_.at(Kind::variable_begin)) {
        stream_.next();
        block.push_back({Output{expressions_.tuple()}, line});
        stream_.expect(Kind::variable_end, "the end of the tag");
      } else {
        stream_.expect(Kind::block_begin, "a tag");
        const auto is_here = [this](std::string_view end) { return stream_.at_name(end); };
        if (std::any_of(ends.begin(), ends.end(), is_here)) return block;
        block.push_back(statement());
      }
    }
    if (ends.size() > 0) stream_.fail(fmt::format("'{}' is missing", *(ends.end() - 1)));
    return block;
  }

  // A body, its end tag and the end of that.
  Block body_to(std::string_view end) {
    end_tag();
    Block block = body({end});
    stream_.next();
    return block;
  }

  void end_tag() { stream_.expect(Kind::block_end, "the end of the tag"); }

  Statement statement() {
    const size_t line = stream_.current().line;
    const std::string tag = stream_.expect_identifier();
    Statement result{Data{}, line};
    if (tag == "if")
      result.node = conditional();
    else if (tag == "for")
      result.node = loop();
    else if (tag == "set")
      assignment(result);
    else if (tag == "with")
      result.node = with();
    else if (tag == "macro")
      result.node = Macro{macro(stream_.expect_identifier(), "endmacro")};
    else if (tag == "call")
      result.node = call_block();
    else if (tag == "filter")
      result.node = filter_block();
    else if (tag == "generation")
      result.node = Generation{without_loops([this] { return body_to("endgeneration"); })};
    else if (tag == "break" || tag == "continue")
      loop_control(tag, result);
    else
      stream_.fail(fmt::format("the tag '{}' is not supported here", tag));
    end_tag();
    return result;
  }

  void loop_control(const std::string& tag, Statement& result) {
    if (loops_ == 0) stream_.fail(fmt::format("'{}' outside of a loop", tag));
    if (tag == "break")
      result.node = Break{};
    else
      result.node = Continue{};
  }

  If conditional() {
    If node;
    while (true) {
      ExpressionPtr condition = expressions_.tuple(Conditions::left);
      end_tag();
      Block block = body({"elif", "else", "endif"});
      node.branches.emplace_back(std::move(condition), std::move(block));
      if (stream_.skip_name("elif")) continue;
      if (stream_.skip_name("else"))
        node.otherwise = body_to("endif");
      else
        stream_.expect_name("endif");
      return node;
    }
  }

  For loop() {
    For node;
    node.target = target();
    stream_.expect_name("in");
    node.iterable = expressions_.tuple(Conditions::left);
    if (stream_.skip_name("if")) node.condition = expressions_.expression();
    if (stream_.at_name("recursive")) stream_.fail("recursive loops are not supported");
    end_tag();
    ++loops_;
    node.body = body({"else", "endfor"});
    --loops_;
    if (stream_.skip_name("else"))
      node.otherwise = body_to("endfor");
    else
      stream_.expect_name("endfor");
    return node;
  }

  void assignment(Statement& result) {
    Target to = target();
    if (to.names.size() == 1 && !to.is_tuple && stream_.skip_op(".")) {
      to.attribute = stream_.expect_identifier();
      if (to.attribute.starts_with('_')) stream_.fail("names that begin with _ are not for use");
    }
    if (stream_.skip_op("=")) {
      result.node = Set{std::move(to), expressions_.tuple()};
      return;
    }
    if (to.is_tuple) stream_.fail("'=' is missing");
    SetBlock node{std::move(to), expressions_.filter_chain(), {}};
    node.body = without_loops([this] { return body_to("endset"); });
    result.node = std::move(node);
  }

  With with() {
    With node;
    while (!stream_.at(Kind::block_end)) {
      if (!node.assignments.empty()) stream_.expect_op(",");
      Target to = target();
      stream_.expect_op("=");
      node.assignments.emplace_back(std::move(to), expressions_.expression());
    }
    node.body = body_to("endwith");
    return node;
  }

  FilterBlock filter_block() {
    FilterBlock node;
    node.filters.push_back(expressions_.first_filter());
    for (auto& filter : expressions_.filter_chain()) node.filters.push_back(std::move(filter));
    node.body = without_loops([this] { return body_to("endfilter"); });
    return node;
  }

  // Parameters and body of a macro; the stream is after its name.
  std::shared_ptr<const MacroDefinition> macro(std::string name, std::string_view end) {
    auto definition = std::make_shared<MacroDefinition>();
    definition->name = std::move(name);
    parameters(*definition);
    definition->body = without_loops([&] { return body_to(end); });
    return definition;
  }

  void parameters(MacroDefinition& definition) {
    stream_.expect_op("(");
    for (bool first = true; !stream_.at_op(")"); first = false) {
      if (!first) stream_.expect_op(",");
      const std::string name = assignable_name();
      ExpressionPtr otherwise;
      if (stream_.skip_op("="))
        otherwise = expressions_.expression();
      else if (!definition.parameters.empty() && definition.parameters.back().second)
        stream_.fail("a parameter without a default follows one that has one");
      definition.parameters.emplace_back(name, std::move(otherwise));
    }
    stream_.expect_op(")");
  }

  CallBlock call_block() {
    auto caller = std::make_shared<MacroDefinition>();
    caller->name = "caller";
    if (stream_.at_op("(")) parameters(*caller);
    CallBlock node;
    node.call = expressions_.unary_with_postfix();
    if (!std::holds_alternative<Call>(node.call->node)) stream_.fail("'call' needs a call");
    caller->body = without_loops([this] { return body_to("endcall"); });
    node.caller = std::move(caller);
    return node;
  }

  // Break and continue don't reach out of a body that is rendered by itself.
  template <typename Parse>
  Block without_loops(Parse parse) {
    const int outer = std::exchange(loops_, 0);
    Block block = parse();
    loops_ = outer;
    return block;
  }

  std::string assignable_name() {
    const std::string name = stream_.expect_identifier();
    static constexpr std::string_view reserved[] = {"true",  "True", "false",
                                                    "False", "none", "None"};
    if (std::find(std::begin(reserved), std::end(reserved), name) != std::end(reserved))
      stream_.fail(fmt::format("nothing can be assigned to '{}'", name));
    return name;
  }

  Target target() {
    Target result;
    const bool parenthesised = stream_.skip_op("(");
    result.names.push_back(assignable_name());
    while (stream_.skip_op(",")) {
      result.is_tuple = true;
      if (!stream_.at(Kind::name) || stream_.at_name("in")) break;
      result.names.push_back(assignable_name());
    }
    if (parenthesised) stream_.expect_op(")");
    return result;
  }

  TokenStream stream_;
  ExpressionParser expressions_;
  int loops_ = 0;  // that a break would leave
};

}  // namespace

Token TokenStream::next() {
  Token token = current();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::at_op(std::string_view op) const { return at(Kind::op) && current().text == op; }

bool TokenStream::at_name(std::string_view name) const {
  return at(Kind::name) && current().text == name;
}

bool TokenStream::skip_op(std::string_view op) {
  if (!at_op(op)) return false;
  next();
  return true;
}

bool TokenStream::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  next();
  return true;
}

void TokenStream::expect_op(std::string_view op) {
  if (!skip_op(op)) fail(fmt::format("expected '{}'", op));
}

void TokenStream::expect_name(std::string_view name) {
  if (!skip_name(name)) fail(fmt::format("expected '{}'", name));
}

void TokenStream::expect(Kind kind, std::string_view what) {
  if (!at(kind)) fail(fmt::format("expected {}", what));
  next();
}

std::string TokenStream::expect_identifier() {
  if (!at(Kind::name)) fail("expected a name");
  return next().text;
}

void TokenStream::fail(std::string what) const {
  throw SyntaxError{fmt::format("{}, at {}", what, shown(current())), current().line};
}

TokenStream::Nesting::Nesting(TokenStream& stream) : stream_(stream) {
  constexpr int deepest = 150;
  if (stream_.depth_ >= deepest) stream_.fail("nested too deep");
  ++stream_.depth_;
}

Block parse_template(std::string_view source) {
  constexpr size_t longest = size_t{1} << 20;  // the longest known have 30 KB
  if (source.size() > longest) throw SyntaxError{"longer than 1 MiB", 1};
  return TemplateParser(tokens_of(source)).run();
}

}  // namespace backlot::jinja
