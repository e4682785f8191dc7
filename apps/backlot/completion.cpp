#include <fmt/format.h>

#include <memory>
#include <set>

#include "command.h"

namespace backlot {
namespace {

// Each command with its long options, as the command line itself declares them.
std::vector<std::pair<std::string, std::vector<std::string>>> options_by_command() {
  std::vector<std::pair<std::string, std::vector<std::string>>> out;
  for (const auto& command : commands()) {
    if (command.hidden) continue;
    CLI::App app("", command.name);
    app.set_help_flag("-h,--help", "");
    if (std::string_view(command.name) != "completion") command.declare(app);
    std::set<std::string> names;
    for (const CLI::Option* option : app.get_options())
      for (const auto& name : option->get_lnames()) names.insert("--" + name);
    out.emplace_back(command.name, std::vector(names.begin(), names.end()));
  }
  return out;
}

std::string bash_script() {
  std::string names, cases;
  for (const auto& [name, options] : options_by_command()) {
    names += name + " ";
    cases += fmt::format("    {}) words=\"{}\" ;;\n", name, fmt::join(options, " "));
  }
  return fmt::format(
      "_backlot() {{\n"
      "  local words cur=\"${{COMP_WORDS[COMP_CWORD]}}\"\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    COMPREPLY=($(compgen -W \"{}--help --version\" -- \"$cur\"))\n    return\n  fi\n"
      "  case \"${{COMP_WORDS[1]}}\" in\n{}  esac\n"
      "  [[ \"$cur\" == -* ]] && COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
      "}}\ncomplete -o default -F _backlot backlot",
      names, cases);
}

std::string zsh_script() {
  std::string names, cases;
  for (const auto& [name, options] : options_by_command()) {
    names += " " + name;
    cases += fmt::format("    {}) compadd -- {} ;;\n", name, fmt::join(options, " "));
  }
  return fmt::format(
      "#compdef backlot\n_backlot() {{\n"
      "  if (( CURRENT == 2 )); then compadd --{} --help --version; return; fi\n"
      "  if [[ \"$words[CURRENT]\" != -* ]]; then _files; return; fi\n"
      "  case \"$words[2]\" in\n{}  esac\n}}\ncompdef _backlot backlot",
      names, cases);
}

}  // namespace

Run declare_completion(CLI::App& app) {
  const auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "bash or zsh")->required()->check(CLI::IsMember({"bash", "zsh"}));
  return [shell](StopSignal&) {
    print_result(*shell == "bash" ? bash_script() : zsh_script());
    return ExitCode::done;
  };
}

}  // namespace backlot
