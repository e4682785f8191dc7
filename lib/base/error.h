// Errors, by who can mend them. The library throws; only main() prints and exits.
#pragma once

#include <exception>
#include <string>

namespace backlot {

// What the process exits with. A contract: other people's scripts read these.
enum class ExitCode {
  done = 0,          // everything asked for exists
  items_failed = 1,  // the run finished, some items failed
  usage = 2,         // the command line or a spec is wrong; nothing was started
  environment = 3,   // no such device, model missing or damaged, disk full, output not writable
  interrupted = 130,
  terminated = 143,
};

// One line for a person: "WHERE: WHAT; MEND". `where` is file:line:column for specs and the file
// for models and media; `mend` says what to do instead. Control characters are made visible, so
// that hostile input can't drive a terminal or break the line.
class Error : public std::exception {
 public:
  Error(ExitCode code, std::string where, std::string what, std::string mend);

  const char* what() const noexcept override { return line_.c_str(); }
  ExitCode code() const { return code_; }
  const std::string& where() const { return where_; }
  const std::string& problem() const { return problem_; }
  const std::string& mend() const { return mend_; }

 private:
  ExitCode code_;
  std::string where_, problem_, mend_, line_;
};

// The command line is wrong (exit 2).
struct UsageError : Error {
  UsageError(std::string where, std::string what, std::string mend)
      : Error(ExitCode::usage, std::move(where), std::move(what), std::move(mend)) {}
};

// A spec is wrong (exit 2).
struct SpecError : Error {
  SpecError(std::string where, std::string what, std::string mend)
      : Error(ExitCode::usage, std::move(where), std::move(what), std::move(mend)) {}
};

// The machine can't: no such device, disk full, output not writable (exit 3).
struct EnvironmentError : Error {
  EnvironmentError(std::string where, std::string what, std::string mend)
      : Error(ExitCode::environment, std::move(where), std::move(what), std::move(mend)) {}
};

// A model folder or one of its files is missing, damaged or of another kind (exit 3).
struct LoadError : Error {
  LoadError(std::string where, std::string what, std::string mend)
      : Error(ExitCode::environment, std::move(where), std::move(what), std::move(mend)) {}
};

// One item can't be made; the run goes on (exit 1 at its end).
struct ItemError : Error {
  ItemError(std::string where, std::string what, std::string mend)
      : Error(ExitCode::items_failed, std::move(where), std::move(what), std::move(mend)) {}
};

// The device's memory did not suffice for what was tried; a smaller batch or tiling may do.
struct OutOfMemory : ItemError {
  using ItemError::ItemError;
};

// Thrown out of long work after SIGINT or SIGTERM.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted"; }
};

}  // namespace backlot
