#include "base/error.h"

#include "base/text.h"

namespace backlot {

Error::Error(ExitCode code, std::string where, std::string what, std::string mend)
    : code_(code), where_(std::move(where)), problem_(std::move(what)), mend_(std::move(mend)) {
  line_ = where_;
  if (!line_.empty()) line_ += ": ";
  line_ += problem_;
  if (!mend_.empty()) line_ += "; " + mend_;
  line_ = printable(line_);
}

}  // namespace backlot
