#include "text/jinja/ast.h"

#include <algorithm>

namespace backlot::jinja {
namespace {

// The deepest of any number of expressions, lists and arguments of them.
struct Deepest {
  int depth = 0;

  void see(const ExpressionPtr& expression) {
    if (expression) depth = std::max(depth, expression->depth);
  }
  void see(const Expressions& expressions) {
    for (const auto& expression : expressions) see(expression);
  }
  void see(const CallArguments& arguments) {
    see(arguments.positional);
    for (const auto& [name, value] : arguments.named) see(value);
  }
  template <typename... Parts>
  void all(const Parts&... parts) {
    (see(parts), ...);
  }

  void operator()(const Constant&) {}
  void operator()(const Name&) {}
  void operator()(const Attribute& node) { see(node.object); }
  void operator()(const Subscript& node) { all(node.object, node.key); }
  void operator()(const Slice& node) { all(node.object, node.begin, node.end, node.step); }
  void operator()(const Call& node) { all(node.callee, node.arguments); }
  void operator()(const Filter& node) { all(node.input, node.arguments); }
  void operator()(const Test& node) { all(node.input, node.arguments); }
  void operator()(const Unary& node) { see(node.operand); }
  void operator()(const Binary& node) { all(node.left, node.right); }
  void operator()(const Comparison& node) {
    see(node.first);
    for (const auto& [op, operand] : node.rest) see(operand);
  }
  void operator()(const Conditional& node) { all(node.then, node.condition, node.otherwise); }
  void operator()(const ListDisplay& node) { see(node.items); }
  void operator()(const TupleDisplay& node) { see(node.items); }
  void operator()(const DictDisplay& node) {
    for (const auto& [key, value] : node.entries) all(key, value);
  }
};

}  // namespace

int depth_inside(const Expression& expression) {
  Deepest deepest;
  std::visit([&](const auto& node) { deepest(node); }, expression.node);
  return deepest.depth;
}

}  // namespace backlot::jinja
