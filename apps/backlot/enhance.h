// The pieces of `backlot enhance`.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/loader.h"
#include "generate.h"
#include "language/session.h"

namespace backlot {

struct EnhanceOptions {
  GenerateOptions run;  // specs, prompts, folder, device, dtype, …
  std::string model, messages, requests, style;
  std::string packing = "auto";
  std::map<std::string, std::string> sampling;  // by field name, as given
  std::vector<std::string> stop;
  std::optional<uint64_t> seed;
  int64_t variants = 1, max_sequences = 64;
  bool ignore_eos = false, stream = false, raw = false, timings = false;
};

// The engine, opened when the first weights are wanted.
class EngineOnDemand {
 public:
  explicit EngineOnDemand(EngineOptions options) : options_(std::move(options)) {}
  Engine& operator()() {
    if (!engine_) engine_ = load_engine(options_);
    return *engine_;
  }

 private:
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
};

// A number given for a sampling field, or nothing. Throws UsageError.
std::optional<double> sampling_number(const EnhanceOptions& options, const std::string& field);
Sampling sampling_of(const EnhanceOptions& options, Sampling otherwise);

// Chats as they are: --messages FILE and --requests FILE. Texts and JSON go to standard output.
ExitCode answer_chats(const EnhanceOptions& options, LanguageSession& session);

// Text on standard output, at once. Throws EnvironmentError if it can't be written: what would be
// made after it is lost, too.
void print_now(std::string_view text);

// Prints lines in the order of their places, each as soon as those before it are known.
class LinesInOrder {
 public:
  void add(size_t place, std::optional<std::string> line);  // nothing: there is no such line

 private:
  std::vector<std::optional<std::string>> lines_;
  std::vector<bool> known_;
  size_t next_ = 0;
};

// A model's text without what could drive a terminal: control characters (C0, DEL, C1) but newline
// and tab. Whole UTF-8 characters.
std::string for_terminal(std::string_view text);

// One line of JSON in which control characters are escaped, DEL and C1 as well.
std::string json_line(const Json& json);

struct PromptLine {
  std::string text;
  std::string where;  // for messages
};

// --prompt in their order, then a line each of standard input where `-` stands for it. Throws
// UsageError: there are none, or one is empty.
std::vector<PromptLine> read_prompts(const EnhanceOptions& options);

// Whether specs are given, and not only - for standard input.
bool names_specs(const EnhanceOptions& options);

// Specs of the task enhance, and prompts with -o: texts in run folders.
ExitCode enhance_runs(const EnhanceOptions& options, EngineOnDemand& engine, StopSignal& stop);

// Short prompts in a style: --prompt and -.
ExitCode enhance_prompts(const EnhanceOptions& options, LanguageSession& session);

// The bundled model where none was named. Throws LoadError if it is not there.
std::filesystem::path language_model_path(const std::string& named);

// "1,234 tokens of 64 texts in 3.1 s; …", for people.
void tell_speed(const LanguageSession& session, double seconds);

}  // namespace backlot
