// How deep a rendering is inside of statements, expressions and macros: bounded, as each level
// takes some of the stack.
#pragma once

#include "text/jinja/interpreter.h"

namespace backlot::jinja {

class Interpreter::Deeper {
 public:
  Deeper(int& depth, Budget& budget) : depth_(depth) {
    constexpr int deepest = 700;
    constexpr uint64_t step = 64;
    budget.spend(step);
    if (depth_ >= deepest) throw Error("it calls itself too deep");
    ++depth_;
  }
  ~Deeper() { --depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  int& depth_;
};

}  // namespace backlot::jinja
