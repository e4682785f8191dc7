// What is wrong with a value, before it is known where the value stands.
#pragma once

#include <string>

namespace backlot {

// Thrown by checks on single values; whoever knows the place turns it into a SpecError.
struct Problem {
  std::string what;  // "is 830, not a multiple of 8"
  std::string mend;
};

}  // namespace backlot
