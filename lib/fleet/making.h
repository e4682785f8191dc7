// What makers of pictures and of clips share.
#pragma once

#include <exception>
#include <string>

#include "base/error.h"
#include "engine/engine.h"
#include "run/journal.h"
#include "run/result_cache.h"
#include "spec/item.h"

namespace backlot {

inline void note_seconds(Attempt& attempt, const StageSeconds& seconds) {
  attempt.text_encode = seconds.text_encode;
  attempt.denoise = seconds.denoise;
  attempt.decode = seconds.decode;
}

inline std::string problem_of(const std::exception& error) {
  if (const auto* ours = dynamic_cast<const Error*>(&error))
    return ours->where().empty() ? ours->problem() + "; " + ours->mend() : ours->what();
  return error.what();
}

// What describe_picture() wants to know of an item that was made.
inline Json metadata_record(const Item& item, const Attempt& attempt) {
  return {{"id", item.id},
          {"parameters", rendered_parameters(item)},
          {"model",
           {{"path", item.model.filename().string()}, {"fingerprint", item.model_fingerprint}}},
          {"dtype", attempt.dtype},
          {"quantization", attempt.quantization}};
}

inline MadeWith made_with(const Attempt& attempt) {
  MadeWith how;
  how.device = attempt.device.substr(0, attempt.device.find(':'));
  how.dtype = attempt.dtype;
  how.quantization = attempt.quantization;
  return how;
}

}  // namespace backlot
