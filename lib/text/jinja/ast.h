// A parsed template.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/value.h"

namespace backlot::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;
using Expressions = std::vector<ExpressionPtr>;

struct CallArguments {
  Expressions positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct Constant {
  Value value;
};
struct Name {
  std::string name;
};
struct Attribute {  // object.name
  ExpressionPtr object;
  std::string name;
};
struct Subscript {  // object[key]
  ExpressionPtr object, key;
};
struct Slice {  // object[begin:end:step], each may be null
  ExpressionPtr object, begin, end, step;
};
struct Call {
  ExpressionPtr callee;
  CallArguments arguments;
};
struct Filter {  // input | name(arguments); without input in a filter block
  ExpressionPtr input;
  std::string name;
  CallArguments arguments;
};
struct Test {  // input is name arguments
  ExpressionPtr input;
  std::string name;
  CallArguments arguments;
};
struct Unary {  // "not", "-", "+"
  std::string op;
  ExpressionPtr operand;
};
struct Binary {  // arithmetic, "~", "and", "or"
  std::string op;
  ExpressionPtr left, right;
};
struct Comparison {  // first op operand op operand …; "in" and "not in" as well
  ExpressionPtr first;
  std::vector<std::pair<std::string, ExpressionPtr>> rest;
};
struct Conditional {  // then if condition else otherwise, which may be null
  ExpressionPtr then, condition, otherwise;
};
struct ListDisplay {
  Expressions items;
};
struct TupleDisplay {
  Expressions items;
};
struct DictDisplay {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> entries;
};

struct Expression {
  std::variant<Constant, Name, Attribute, Subscript, Slice, Call, Filter, Test, Unary, Binary,
               Comparison, Conditional, ListDisplay, TupleDisplay, DictDisplay>
      node;
  size_t line = 0;
  int depth = 1;  // of expressions inside expressions
};

// How deep the deepest of the expressions inside is; 0 without any.
int depth_inside(const Expression& expression);

struct Statement;
using Block = std::vector<Statement>;

// What an assignment assigns to: names, or one attribute of a namespace.
struct Target {
  std::vector<std::string> names;
  bool is_tuple = false;
  std::string attribute;  // of the namespace names[0]; "" for none
};

struct Data {
  std::string text;
};
struct Output {
  ExpressionPtr value;
};
struct If {
  std::vector<std::pair<ExpressionPtr, Block>> branches;
  Block otherwise;
};
struct For {
  Target target;
  ExpressionPtr iterable, condition;  // condition may be null
  Block body, otherwise;
};
struct Set {
  Target target;
  ExpressionPtr value;
};
struct SetBlock {
  Target target;
  Expressions filters;  // each without input, in order
  Block body;
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
  Block body;
};
struct FilterBlock {
  Expressions filters;
  Block body;
};
struct Generation {  // transformers' mark of what the assistant said
  Block body;
};
struct MacroDefinition {
  std::string name;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // with defaults, or null
  Block body;
};
struct CallBlock {  // {% call(parameters) callee(arguments) %}
  std::shared_ptr<const MacroDefinition> caller;
  ExpressionPtr call;
};
struct Macro {
  std::shared_ptr<const MacroDefinition> definition;
};
struct Break {};
struct Continue {};

struct Statement {
  std::variant<Data, Output, If, For, Set, SetBlock, With, FilterBlock, Generation, Macro,
               CallBlock, Break, Continue>
      node;
  size_t line = 0;
};

}  // namespace backlot::jinja
