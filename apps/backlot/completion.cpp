#include <fmt/format.h>

#include <memory>
#include <set>

#include "base/text.h"
#include "command.h"

namespace backlot {
namespace {

// What may be typed after a command, as the command line itself declares it.
struct Words {
  std::string command;
  std::vector<std::string> options;                         // the long ones
  std::vector<std::string> with_value;                      // of all: those that a value follows
  std::vector<std::string> words;                           // that its first argument may be
  bool several = false;                                     // of those
  std::vector<std::pair<std::string, std::string>> values;  // by option: what may follow it
};

// "TEXT:{one,two}", as CLI::IsMember and offer_values() name an option's type: one and two.
std::vector<std::string> values_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t begin = type.find('{'), end = type.rfind('}');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return {};
  return split(std::string_view(type).substr(begin + 1, end - begin - 1), ',');
}

void add(const CLI::Option& option, Words& out) {
  const auto values = values_of(option);
  if (option.get_positional() && option.get_lnames().empty()) {
    if (out.words.empty()) {
      out.words = values;
      out.several = option.get_expected_max() > 1;
    }
    return;
  }
  const bool with_value = option.get_expected_max() > 0;
  const auto take = [&](const std::string& name) {
    if (with_value) out.with_value.push_back(name);
    if (!values.empty()) out.values.emplace_back(name, fmt::format("{}", fmt::join(values, " ")));
  };
  for (const auto& name : option.get_lnames()) {
    out.options.push_back("--" + name);
    take("--" + name);
  }
  for (const auto& name : option.get_snames()) take("-" + name);
}

std::vector<Words> words_by_command() {
  std::vector<Words> all;
  for (const auto& command : commands()) {
    if (command.hidden) continue;
    CLI::App app("", command.name);
    app.set_help_flag("-h,--help", "");
    const Run run = command.declare(app);  // which keeps what the options write to
    Words& words = all.emplace_back();
    words.command = command.name;
    for (const CLI::Option* option : app.get_options()) add(*option, words);
    std::ranges::sort(words.options);
  }
  return all;
}

// The lines of two `case`s that both shells read alike: what may follow an option, and what may
// stand anywhere after a command.
struct Cases {
  std::string names, after_option, in_command;
};

Cases cases() {
  Cases cases;
  for (const Words& words : words_by_command()) {
    cases.names += words.command + " ";
    for (const auto& [option, values] : words.values)
      cases.after_option +=
          fmt::format("    '{} {}') values='{}' ;;\n", words.command, option, values);
    cases.in_command +=
        fmt::format("    {}) options='{}'\n      with_value='{}'\n      first='{}' several={} ;;\n",
                    words.command, fmt::join(words.options, " "), fmt::join(words.with_value, " "),
                    fmt::join(words.words, " "), words.several ? "yes" : "''");
  }
  return cases;
}

std::string bash_script() {
  const Cases words = cases();
  return fmt::format(
      R"(_backlot() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
  local values='' options='' with_value='' first='' several='' word
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{}--help --version" -- "$cur"))
    return
  fi
  # --option=value comes as three words.
  if [ "$before" = = ]; then before="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
  if [ "$cur" = = ]; then cur=''; fi
  case "${{COMP_WORDS[1]}} $before" in
{}  esac
  case "${{COMP_WORDS[1]}}" in
{}  esac
  if [ -z "$values" ]; then
    if [[ " $with_value " == *" $before "* ]]; then return; fi
    values="$first"
    if [ -z "$several" ]; then
      for word in "${{COMP_WORDS[@]:2:COMP_CWORD-2}}"; do
        if [[ " $first " == *" $word "* ]]; then values=''; fi
      done
    fi
    if [[ "$cur" == -* ]]; then values="$options"; fi
  fi
  COMPREPLY=($(compgen -W "$values" -- "$cur"))
}}
complete -o default -F _backlot backlot)",
      words.names, words.after_option, words.in_command);
}

std::string zsh_script() {
  const Cases words = cases();
  return fmt::format(
      R"(#compdef backlot
_backlot() {{
  local cur="$words[CURRENT]" before="$words[CURRENT-1]"
  local values='' options='' with_value='' first='' several='' word
  if (( CURRENT == 2 )); then compadd -- {}--help --version; return; fi
  if [[ "$cur" == --*=* ]]; then before="${{cur%%=*}}"; cur=''; compset -P '*='; fi
  case "$words[2] $before" in
{}  esac
  case "$words[2]" in
{}  esac
  if [[ -z "$values" && " $with_value " != *" $before "* ]]; then
    values="$first"
    if [[ -z "$several" ]]; then
      for word in $words[3,CURRENT-1]; do
        if [[ " $first " == *" $word "* ]]; then values=''; fi
      done
    fi
    if [[ "$cur" == -* ]]; then values="$options"; fi
  fi
  if [[ -z "$values" ]]; then _files; return; fi
  compadd -- ${{=values}}
}}
compdef _backlot backlot)",
      words.names, words.after_option, words.in_command);
}

}  // namespace

void offer_values(CLI::Option& option, std::span<const std::string_view> values) {
  option.type_name(fmt::format("{}:{{{}}}", option.get_type_name(), fmt::join(values, ",")));
}

Run declare_completion(CLI::App& app) {
  const auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "bash or zsh")->required()->check(CLI::IsMember({"bash", "zsh"}));
  return [shell](StopSignal&) {
    print_result(*shell == "bash" ? bash_script() : zsh_script());
    return ExitCode::done;
  };
}

}  // namespace backlot
