// The stage before generation in which a language model makes rich prompts out of short ones, as a
// spec asks for it: `enhance: {model: …, style: …}`.
#pragma once

#include <cstdint>
#include <string>

#include "spec/field_values.h"
#include "spec/tree.h"

namespace backlot {

struct EnhanceStage {
  std::string model;  // as written
  Mark model_mark;
  std::string style = "image-fast";  // as written
  Mark style_mark;
  int64_t variants = 1;  // texts of each prompt, with seeds seed, seed + 1, …
  uint64_t seed = 0;
  FieldValues fields;  // of sampling, and retries
  Mark mark;
};

// What `value` says, laid over `base`. Throws SpecError at what is wrong in it.
EnhanceStage read_enhance_stage(const Value& value, EnhanceStage base, const Sources& sources);

}  // namespace backlot
