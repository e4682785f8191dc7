// Styles of enhancement: what a language model is told and shown before it makes a short prompt
// into a rich one, and what its text is held to. They are data, jobspecs/styles/*.yaml;
// docs/enhance.md describes their keys.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spec/tree.h"

namespace backlot {

// How tokens are drawn. Names and meanings as in transformers' GenerationConfig.
struct TextSampling {
  int64_t max_tokens = 160;  // made at most, the end mark not counted
  double temperature = 0.7;  // 0: always the likeliest token
  int64_t top_k = 0;         // 0: all
  double top_p = 0.9;
  double min_p = 0;
  double repetition_penalty = 1;
  std::vector<std::string> stop = {};  // the text ends before the first of these
  bool operator==(const TextSampling&) const = default;
};

// Sets the member that the job field of that name stands for; `value` is checked.
void set_sampling(TextSampling& sampling, std::string_view field, const Json& value);

// What a text encoder takes. `clip` is counted exactly; `umt5` where its tokenizer is at hand, and
// estimated on the safe side elsewhere.
enum class TextEncoder { clip, umt5 };

struct TextLimits {
  int64_t min_words = 10, max_words = 60;  // two Han characters or kana count as a word
  TextEncoder encoder = TextEncoder::clip;
  int64_t max_tokens = 77;  // of that encoder, with the marks that it adds (CLIP two, UMT5 one)
};

struct StyleExample {
  std::string user, assistant;  // a short prompt, and the text that it should become
};

struct Style {
  std::string name;  // the file's, without .yaml
  std::string description;
  std::string system;                  // system message
  std::string request = "{prompt}";    // user message; {prompt} stands for the prompt
  std::vector<StyleExample> examples;  // earlier turns of the chat
  TextLimits limits;
  TextSampling sampling;
  int64_t retries = 3;  // further tries, each with another seed, after a text that is refused
  std::string sha256;   // of all that decides a text but name, sampling and retries
};

// The style that `written` means: a path if it ends in .yaml or holds a slash (relative to
// `folder`), else NAME.yaml in `folder` or in a folder `styles` there, else the shipped one. Throws
// SpecError: at `mark` if there is none, naming the nearest; in the file for what is wrong there.
Style load_style(const std::string& written, Mark mark, const std::filesystem::path& folder,
                 Sources& sources);

// The style that a file's text describes. Throws SpecError at the key or value that is wrong.
Style read_style(std::string_view text, const std::string& name, uint32_t source,
                 const Sources& sources);

// A file of jobspecs/styles, compiled in.
struct ShippedStyle {
  std::string_view name, text;
};
std::span<const ShippedStyle> shipped_styles();  // in the order of their names

}  // namespace backlot
