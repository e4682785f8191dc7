// backlot: the table of commands, help made from it, and the one catch.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <new>
#include <vector>

#include "base/text.h"
#include "command.h"
#include "fleet/own_child.h"
#include "log.h"
#include "version.h"

namespace backlot {
namespace {

constexpr Command command_table[] = {
    {"generate", "make what the specs ask for, on one device",
     "backlot generate jobspecs/demo.yaml\n"
     "  backlot generate --model models/pocket-xl --prompt 'a red apple' --steps 20 --seed 7 -o "
     "apple",
     declare_generate},
    {"enhance", "make short prompts into rich ones with a language model",
     "backlot enhance --prompt 'a red apple' --style cinematic\n"
     "  backlot enhance --messages chat.json --max-tokens 200 --stream",
     declare_enhance},
    {"fleet-run", "the same over every device here, and over many machines",
     "backlot fleet-run jobspecs/demo.yaml --devices cpu,cpu", declare_fleet_run},
    {"bench", "measure this machine: image, video, language, load, kernels, fleet",
     "backlot bench                                   # all suites, with the bundled model\n"
     "  backlot bench image --synthetic sdxl-turbo      # full size, without a download\n"
     "  backlot bench image -o before                   # then change something, and\n"
     "  backlot bench image --baseline before --threshold 5",
     declare_bench,
     "exit codes: 0 measured, 1 slower than the baseline or a case failed, 2 wrong command line,\n"
     "            3 the machine or the model can't, 130/143 interrupted"},
    {"health", "devices, drivers, memory and LibTorch: could work start here?",
     "backlot health --json", declare_health},
    {"models", "what a model folder holds: list, show, check, tokenize",
     "backlot models show models/pocket-xl", declare_models},
    {"cache", "a folder of finished outputs: stats, clear, verify",
     "backlot cache verify ~/.cache/backlot", declare_cache,
     "exit codes: 0 done, 1 verify found damaged entries, 2 wrong command line, 3 no such cache, "
     "it\n"
     "            can't be read, or not all of it can be removed"},
    {"report", "build a run's report.html again, or merge shards into one run",
     "backlot report out/demo\n"
     "  backlot report shard-1 shard-2 shard-3 -o merged",
     declare_report,
     "exit codes: 0 written, 1 merged but items are missing or failed, 2 wrong command line,\n"
     "            3 no run folder, other plans, not writable"},
    {"completion", "print a completion script for bash or zsh", "source <(backlot completion bash)",
     declare_completion},
    {"fleet-worker", "one worker of fleet-run, which starts it", "", declare_fleet_worker, nullptr,
     true},
};

constexpr const char* footer =
    "exit codes: 0 everything exists, 1 some items failed, 2 wrong command line or spec,\n"
    "            3 the machine or the model can't, 130/143 interrupted (run again to go on)";

// The parser's own words, turned into our one line: the option, what is wrong, what to do.
UsageError usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* used = &app;
  for (const CLI::App* sub : app.get_subcommands()) used = sub;
  const std::string help =
      used == &app ? "backlot --help" : "backlot " + used->get_name() + " --help";
  if (dynamic_cast<const CLI::ExtrasError*>(&error)) {
    const auto extras = app.remaining(true);
    const std::string word = extras.empty() ? "" : extras.front();
    std::vector<std::string> names;
    if (used == &app && !word.starts_with("-"))
      for (const auto& command : commands()) {
        if (!command.hidden) names.push_back(command.name);
      }
    else
      for (const CLI::Option* option : used->get_options())
        for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    const std::vector<std::string_view> views(names.begin(), names.end());
    const std::string meant = nearest(word.substr(0, word.find('=')), views);
    return {word, used == &app ? "no such command or option" : "no such option or argument",
            meant.empty() ? fmt::format("see '{}'", help) : fmt::format("did you mean {}?", meant)};
  }
  return {"", error.what(), fmt::format("see '{}'", help)};
}

void add_help(CLI::App& app) {
  app.set_help_flag("-h,--help", "this help");
  app.get_formatter()->column_width(34);
}

ExitCode run(int argc, char** argv) {
  CLI::App app("backlot: batches of pictures from YAML job specs, on a CPU or a GPU", "backlot");
  add_help(app);
  app.set_version_flag("--version", std::string("backlot ") + version);
  app.require_subcommand(0, 1);
  app.footer(footer);
  std::map<const CLI::App*, Run> runs;
  for (const auto& command : commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    if (command.hidden) sub->group("");
    add_help(*sub);
    sub->footer(fmt::format("example:\n  {}\n\n{}", command.example,
                            command.exit_codes ? command.exit_codes : footer));
    runs[sub] = command.declare(*sub);
    // Given twice, the last one counts: that is how people override a saved command line.
    for (CLI::Option* option : sub->get_options())
      if (option->get_expected_max() == 1)
        option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {
    app.exit(wanted);
    return ExitCode::done;
  } catch (const CLI::ParseError& error) {
    throw usage_error(app, error);
  }
  const auto chosen = app.get_subcommands();
  if (chosen.empty()) {
    print_result(app.help());
    return ExitCode::usage;
  }
  return runs.at(chosen.front())(StopSignal::install());
}

// An exit code never lies: results that could not be written are no success.
ExitCode checked_output(ExitCode code) {
  // What was flushed before, and failed, is not tried again.
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (!written && code == ExitCode::done) {
    log_error("standard output: cannot be written; free the disk or mend the pipe, then run again");
    return ExitCode::environment;
  }
  return code;
}

}  // namespace

std::span<const Command> commands() { return command_table; }

void print_result(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
}

}  // namespace backlot

int main(int argc, char** argv) {
  using namespace backlot;
  ExitCode code = ExitCode::environment;
  try {
    code = run(argc, argv);
  } catch (const Error& error) {
    log_error(error.what());
    code = error.code();
  } catch (const ToldAlready& failed) {
    code = failed.code;
  } catch (const Interrupted&) {
    log_warning("interrupted; run the same command again to go on");
    code = ExitCode::interrupted;
  } catch (const std::bad_alloc&) {
    log_error("memory: not enough for this; close other programs, or ask for less at once");
  } catch (const std::exception& error) {
    log_error(std::string("unexpected: ") + error.what() + "; please report this");
  }
  return static_cast<int>(checked_output(code));
}
