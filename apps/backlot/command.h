// A subcommand: a name, a line of help, an example to paste, and what it does.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/stop.h"

namespace backlot {

using Run = std::function<ExitCode(StopSignal&)>;

struct Command {
  const char* name;
  const char* summary;
  const char* example;
  // Adds the command's options to `app` and returns what to do once they are parsed.
  Run (*declare)(CLI::App& app);
  const char* exit_codes = nullptr;  // where they mean something else than usual
  bool hidden = false;               // backlot's own; not in help or completion
};

std::span<const Command> commands();

Run declare_generate(CLI::App& app);
Run declare_enhance(CLI::App& app);
Run declare_fleet_run(CLI::App& app);
Run declare_fleet_worker(CLI::App& app);
Run declare_bench(CLI::App& app);
Run declare_cache(CLI::App& app);
Run declare_health(CLI::App& app);
Run declare_models(CLI::App& app);
Run declare_report(CLI::App& app);
Run declare_completion(CLI::App& app);

// Names an option's values, for the help and for completion, where something else than the parser
// checks them.
void offer_values(CLI::Option& option, std::span<const std::string_view> values);

// A result on standard output, followed by a newline.
void print_result(std::string_view text);

}  // namespace backlot
