// `backlot enhance` on short prompts: a style's chat, checks and further tries.
#include <fmt/format.h>

#include <iostream>

#include "base/text.h"
#include "base/time.h"
#include "command.h"
#include "enhance.h"
#include "enhance/enhancer.h"
#include "enhance/session_text_maker.h"
#include "log.h"
#include "spec/style.h"

namespace backlot {
namespace {

constexpr const char* default_style = "image-fast";

Style style_of(const EnhanceOptions& options) {
  Sources sources;
  const uint32_t source = sources.add("--style");
  const std::string name = options.style.empty() ? default_style : options.style;
  Style style = load_style(name, Mark{.source = source}, std::filesystem::current_path(), sources);
  const auto set = [&](const char* field, auto& value) {
    if (const auto given = sampling_number(options, field))
      value = static_cast<std::remove_reference_t<decltype(value)>>(*given);
  };
  set("max_tokens", style.sampling.max_tokens);
  set("temperature", style.sampling.temperature);
  set("top_k", style.sampling.top_k);
  set("top_p", style.sampling.top_p);
  set("min_p", style.sampling.min_p);
  set("repetition_penalty", style.sampling.repetition_penalty);
  set("retries", style.retries);
  style.sampling.stop = options.stop;
  if (options.variants > 1 && style.sampling.temperature == 0)
    throw UsageError("--variants", "can't differ at a temperature of 0",
                     "leave out --temperature 0, or ask for one text");
  return style;
}

struct Wanted {
  std::string id, where;
  EnhanceRequest request;
};

std::vector<Wanted> wanted_texts(const EnhanceOptions& options, const Style& style) {
  std::vector<Wanted> wanted;
  const auto prompts = read_prompts(options);
  for (size_t i = 0; i < prompts.size(); ++i)
    for (int64_t variant = 0; variant < options.variants; ++variant) {
      std::string id = fmt::format("prompt-{}", i + 1);
      if (options.variants > 1) id += fmt::format("-{}", variant + 1);
      wanted.push_back({.id = std::move(id),
                        .where = prompts[i].where,
                        .request = {.prompt = prompts[i].text,
                                    .style = &style,
                                    .sampling = style.sampling,
                                    .retries = options.stream ? 0 : style.retries,
                                    .seed = *options.seed + static_cast<uint64_t>(variant)}});
    }
  return wanted;
}

Json result_json(const Wanted& wanted, const EnhancedText& made) {
  return {{"id", wanted.id},
          {"prompt", wanted.request.prompt},
          {"text", made.text},
          {"token_ids", made.token_ids},
          {"prompt_tokens", made.prompt_tokens},
          {"finish_reason", made.finish_reason},
          {"style", wanted.request.style->name},
          {"seed", made.seed},
          {"tries", made.tries},
          {"fell_back", made.fell_back},
          {"note", made.note}};
}

}  // namespace

std::vector<PromptLine> read_prompts(const EnhanceOptions& options) {
  std::vector<PromptLine> prompts;
  for (const auto& text : options.run.prompts)
    prompts.push_back({text, fmt::format("--prompt {}", prompts.size() + 1)});
  for (const auto& word : options.run.specs) {
    if (word != "-") continue;
    size_t number = 0;
    for (std::string line; std::getline(std::cin, line);) {
      ++number;
      if (!trim(line).empty())
        prompts.push_back({std::string(trim(line)), fmt::format("standard input:{}", number)});
    }
  }
  for (const auto& [text, where] : prompts) {
    if (trim(text).empty())
      throw UsageError(where, "is empty", "say in a word what to show: --prompt 'a red apple'");
    if (!is_utf8(text)) throw UsageError(where, "is no UTF-8", "write it as UTF-8");
    if (text.find('\0') != std::string::npos)
      throw UsageError(where, "holds a NUL character", "remove it");
  }
  if (prompts.empty()) throw UsageError("standard input", "has no prompts", "give one a line");
  return prompts;
}

ExitCode enhance_prompts(const EnhanceOptions& options, LanguageSession& session) {
  const Style style = style_of(options);
  const auto wanted = wanted_texts(options, style);
  if (options.stream && wanted.size() > 1)
    throw UsageError("--stream",
                     fmt::format("shows one text as it grows, and {} are wanted", wanted.size()),
                     "give one prompt, or leave it out");
  std::vector<EnhanceRequest> requests;
  for (const auto& each : wanted) requests.push_back(each.request);
  SessionTextMaker maker(session);
  maker.ignore_eos(options.ignore_eos);
  if (options.stream) maker.listen([](std::string_view text) { print_now(for_terminal(text)); });
  Enhancer enhancer(maker);
  LinesInOrder printer;
  ExitCode code = ExitCode::done;
  const Stopwatch watch;
  enhancer.enhance(requests, [&](size_t i, const EnhancedText& made) {
    if (made.fell_back && made.finish_reason.empty()) {  // the model can't have said anything
      log_error(fmt::format("{}: {}", wanted[i].where, made.note));
      code = ExitCode::items_failed;
    } else if (!made.note.empty()) {
      log_warning(fmt::format("{}: {}", wanted[i].id, made.note));
    }
    if (options.run.json)
      printer.add(i, json_line(result_json(wanted[i], made)));
    else
      printer.add(i, options.stream ? std::string() : for_terminal(made.text));
  });
  tell_speed(session, watch.seconds());
  return code;
}

}  // namespace backlot
