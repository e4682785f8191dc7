#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/deeper.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/objects.h"

namespace backlot::jinja {
namespace {

// A macro as a value. Its scope is around it for as long as it can be reached.
class MacroObject : public Object {
 public:
  MacroObject(std::shared_ptr<const MacroDefinition> definition, const Scope* around)
      : definition_(std::move(definition)), around_(around) {}

  std::string type() const override { return "macro"; }
  bool callable() const override { return true; }
  Value attribute(const std::string& name) const override {
    return name == "name" ? Value::of(definition_->name) : Object::attribute(name);
  }
  Value call(Interpreter& interpreter, const Arguments& arguments) const override {
    return interpreter.call_macro(*definition_, around_, arguments);
  }

 private:
  std::shared_ptr<const MacroDefinition> definition_;
  const Scope* around_;
};

}  // namespace

void Scope::set(const std::string& name, Value value) {
  names_.insert_or_assign(name, std::move(value));
}

const Value* Scope::find(const std::string& name) const {
  for (const Scope* scope = this; scope; scope = scope->around_)
    if (const auto found = scope->names_.find(name); found != scope->names_.end())
      return &found->second;
  return nullptr;
}

std::string Interpreter::render(const Block& block, const Entries& variables) {
  Scope built_in(nullptr);
  for (const auto& [name, value] : globals()) built_in.set(name, value);
  Scope scope(&built_in);
  for (const auto& [name, value] : variables) scope.set(name, value);
  return captured(block, scope);
}

std::string Interpreter::captured(const Block& block, Scope& scope) {
  std::string text;
  std::string* outer = std::exchange(output_, &text);
  run(block, scope);  // what it throws ends the rendering
  output_ = outer;
  return text;
}

void Interpreter::write(std::string_view text) {
  budget_.spend(text.size());
  *output_ += text;
}

Interpreter::Flow Interpreter::run(const Block& block, Scope& scope) {
  for (const Statement& statement : block)
    if (const Flow flow = run(statement, scope); flow != Flow::on) return flow;
  return Flow::on;
}

Interpreter::Flow Interpreter::run(const Statement& statement, Scope& scope) {
  const Deeper deeper(depth_, budget_);
  line_ = statement.line;
  if (const auto* data = std::get_if<Data>(&statement.node)) {
    write(data->text);
  } else if (const auto* output = std::get_if<Output>(&statement.node)) {
    write(to_text(evaluate(*output->value, scope), budget_));
  } else if (const auto* branch = std::get_if<If>(&statement.node)) {
    for (const auto& [condition, block] : branch->branches)
      if (evaluate(*condition, scope).truth()) return run(block, scope);
    return run(branch->otherwise, scope);
  } else if (const auto* loop = std::get_if<For>(&statement.node)) {
    return run_loop(*loop, scope);
  } else if (const auto* set = std::get_if<Set>(&statement.node)) {
    assign(set->target, evaluate(*set->value, scope), scope);
  } else if (const auto* block = std::get_if<SetBlock>(&statement.node)) {
    Scope inner(&scope);
    Value value = text(captured(block->body, inner));
    assign(block->target, filtered(block->filters, std::move(value), scope), scope);
  } else if (const auto* with = std::get_if<With>(&statement.node)) {
    Scope inner(&scope);
    for (const auto& [target, value] : with->assignments)
      assign(target, evaluate(*value, scope), inner);
    return run(with->body, inner);
  } else if (const auto* filter = std::get_if<FilterBlock>(&statement.node)) {
    Scope inner(&scope);
    Value value = text(captured(filter->body, inner));
    write(to_text(filtered(filter->filters, std::move(value), scope), budget_));
  } else if (const auto* generation = std::get_if<Generation>(&statement.node)) {
    Scope inner(&scope);
    run(generation->body, inner);
  } else if (const auto* macro = std::get_if<Macro>(&statement.node)) {
    scope.set(macro->definition->name,
              Value::of(std::make_shared<MacroObject>(macro->definition, &scope)));
  } else if (const auto* call = std::get_if<CallBlock>(&statement.node)) {
    call_with_caller(*call, scope);
  } else {
    return std::holds_alternative<Break>(statement.node) ? Flow::leave_loop : Flow::next_item;
  }
  return Flow::on;
}

void Interpreter::call_with_caller(const CallBlock& block, Scope& scope) {
  const auto& call = std::get<Call>(block.call->node);
  const Value callee = evaluate(*call.callee, scope);
  Arguments arguments = evaluate_arguments(call.arguments, scope);
  arguments.named.emplace_back("caller",
                               Value::of(std::make_shared<MacroObject>(block.caller, &scope)));
  write(to_text(callee.object().call(*this, arguments), budget_));
}

Value Interpreter::filtered(const Expressions& filters, Value value, const Scope& scope) {
  for (const auto& filter : filters) {
    const auto& node = std::get<Filter>(filter->node);
    value = apply_filter(node.name, value, evaluate_arguments(node.arguments, scope));
  }
  return value;
}

Interpreter::Flow Interpreter::run_loop(const For& loop, Scope& scope) {
  List items = items_of(evaluate(*loop.iterable, scope));
  if (loop.condition) {
    List kept;
    for (const Value& item : items) {
      Scope inner(&scope);
      assign(loop.target, item, inner);
      if (evaluate(*loop.condition, inner).truth()) kept.push_back(item);
    }
    items = std::move(kept);
  }
  if (items.empty()) return run(loop.otherwise, scope);
  const auto state = std::make_shared<LoopObject>(items);
  for (size_t i = 0; i < items.size(); ++i) {
    Scope inner(&scope);
    state->index = i;
    inner.set("loop", Value::of(state));
    assign(loop.target, items[i], inner);
    if (run(loop.body, inner) == Flow::leave_loop) break;
  }
  return Flow::on;
}

void Interpreter::assign(const Target& target, const Value& value, Scope& scope) {
  if (!target.attribute.empty()) {
    const Value* found = scope.find(target.names[0]);
    auto* space =
        found && found->is_object() ? dynamic_cast<NamespaceObject*>(&found->object()) : nullptr;
    if (!space) throw Error(fmt::format("'{}' is not a namespace", target.names[0]));
    return space->set(target.attribute, value);
  }
  if (!target.is_tuple) return scope.set(target.names[0], value);
  const List items = items_of(value);
  if (value.is_undefined() || items.size() != target.names.size())
    throw Error(
        fmt::format("{} values can't be assigned to {} names", items.size(), target.names.size()));
  for (size_t i = 0; i < items.size(); ++i) scope.set(target.names[i], items[i]);
}

Value Interpreter::call_macro(const MacroDefinition& macro, const Scope* around,
                              const Arguments& arguments) {
  const Deeper deeper(depth_, budget_);
  const size_t line = line_;
  Scope scope(around);
  Arguments rest = arguments;
  const auto caller = std::find_if(rest.named.begin(), rest.named.end(),
                                   [](const auto& named) { return named.first == "caller"; });
  if (caller != rest.named.end()) {
    scope.set("caller", caller->second);
    rest.named.erase(caller);
  }
  if (rest.positional.size() > macro.parameters.size())
    throw Error(fmt::format("the macro '{}' takes {} arguments at most", macro.name,
                            macro.parameters.size()));
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const auto& [name, otherwise] = macro.parameters[i];
    const auto named = std::find_if(rest.named.begin(), rest.named.end(),
                                    [&](const auto& given) { return given.first == name; });
    if (i < rest.positional.size()) {
      scope.set(name, rest.positional[i]);
    } else if (named != rest.named.end()) {
      scope.set(name, named->second);
      rest.named.erase(named);
    } else {
      scope.set(name, otherwise
                          ? evaluate(*otherwise, scope)
                          : Value::undefined(fmt::format("parameter '{}' was not provided", name)));
    }
  }
  if (!rest.named.empty())
    throw Error(
        fmt::format("the macro '{}' has no parameter '{}' left", macro.name, rest.named[0].first));
  Value result = text(captured(macro.body, scope));
  line_ = line;
  return result;
}

}  // namespace backlot::jinja
