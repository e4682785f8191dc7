#include "enhance.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>

#include "base/error.h"
#include "base/install.h"
#include "command.h"
#include "device_option.h"
#include "fleet/devices.h"
#include "log.h"
#include "model_store.h"

namespace backlot {
namespace {

constexpr const char* text_group = "How texts are made";

void declare_sampling_options(CLI::App& app, EnhanceOptions& options) {
  const auto number = [&](const std::string& name, const std::string& field,
                          const std::string& help) {
    app.add_option_function<std::string>(
           name, [&options, field](const std::string& text) { options.sampling[field] = text; },
           help)
        ->group(text_group);
  };
  number("--max-tokens", "max_tokens", "tokens of a text, at most");
  number("--temperature", "temperature", "0: always the likeliest token; 1: as the model has it");
  number("--top-k", "top_k", "only the k likeliest tokens (0: all)");
  number("--top-p", "top_p", "only the likeliest tokens that make up this probability");
  number("--min-p", "min_p", "only tokens at least this times as likely as the likeliest");
  number("--repetition-penalty", "repetition_penalty", "above 1: fewer words that were there");
  number("--retries", "retries", "further tries after a text that is refused");
  app.add_option("--seed", options.seed, "of the first text; later ones count on (else drawn)")
      ->check([](const std::string& text) {  // what is beyond would be taken for something else
        uint64_t seed = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
        return error == std::errc() && end == text.data() + text.size()
                   ? std::string()
                   : "is no whole number from 0 to 2^64-1: " + text;
      })
      ->group(text_group);
  app.add_option("--stop", options.stop, "a text ends before this; may be given several times")
      ->group(text_group)
      ->check([](const std::string& text) {
        return text.empty() ? std::string("is empty") : std::string();
      });
  app.add_flag("--ignore-eos", options.ignore_eos, "go on to --max-tokens, for measurements")
      ->group(text_group);
  app.add_flag("--stream", options.stream, "print the text as it is made")->group(text_group);
  app.add_option("--max-sequences", options.max_sequences, "texts made together, at most")
      ->check(CLI::Range(1, 4096))
      ->group(text_group);
}

void declare_own_options(CLI::App& app, EnhanceOptions& options) {
  app.add_option("--prompt", options.run.prompts, "a short prompt; may be given several times");
  app.add_option("--style", options.style, "a style's name, or a file of one");
  app.add_option("--variants", options.variants, "texts for each prompt")
      ->check(CLI::Range(1, 999));
  app.add_option("--messages", options.messages,
                 "a chat as a JSON array in a file (-: standard input), answered as it is");
  app.add_option("--requests", options.requests,
                 "chats as JSON lines with custom_id and body.messages (-: standard input)");
  app.add_option("--model", options.model,
                 "a transformers folder or a GGUF file (default: the bundled smollm2)");
  app.add_option("--device", options.run.device, "cpu, cuda, cuda:N or auto");
  app.add_option("--threads", options.run.threads, "CPU threads (else all that may be used)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--dtype", options.run.dtype, "float32, bfloat16, float16 or auto");
  app.add_option("--quantize", options.packing,
                 "int8 or int4 weights on the CPU, none, or auto (as the file has them)")
      ->check(CLI::IsMember({"auto", "none", "int8", "int4"}));
  const char* runs = "Runs: specs, or prompts with -o";
  app.add_option("-o,--output", options.run.output, "the run folder that texts go into")
      ->group(runs)
      ->check([](const std::string& text) {
        return text.empty() ? std::string("is empty; name the run folder") : std::string();
      });
  app.add_option("--set", options.run.sets, "override a value of the spec: path=value")
      ->group(runs);
  app.add_option("--quota", options.run.quota, "stop before the run folder's outputs take more")
      ->group(runs);
  app.add_option("--min-free", options.run.min_free,
                 "stop before less than this is free on the disk")
      ->group(runs);
  app.add_flag("--dry-run", options.run.dry_run, "say what would be made")->group(runs);
  app.add_flag("--fresh", options.run.fresh, "start over: remove what an earlier run made")
      ->group(runs);
  declare_cache_options(app, options.run.cache, "--cache-dir");
  app.add_flag("--json", options.run.json, "print results as JSON, one object a line");
  app.add_option("--progress", options.run.progress, "auto, bar, plain, json or off")
      ->check(CLI::IsMember({"auto", "bar", "plain", "json", "off"}));
  app.add_flag("-q,--quiet", options.run.quiet, "errors only");
  app.add_flag("-v,--verbose", options.run.verbose, "more detail");
  app.add_flag("--log-json", options.run.log_json, "messages as JSON, one object a line");
}

bool into_runs(const EnhanceOptions& options) {
  return names_specs(options) || !options.run.output.empty();
}

void refuse(const char* option, bool given, const char* why, const char* mend) {
  if (given) throw UsageError(option, why, mend);
}

// Options that would have no say.
void check_run_form(const EnhanceOptions& options) {
  if (names_specs(options)) {
    const char* why = "goes with the form without a spec, and a spec is given";
    const char* mend = "use --set, e.g. --set defaults.temperature=0.5";
    refuse("--style", !options.style.empty(), why, mend);
    refuse("--model", !options.model.empty(), why, mend);
    refuse("--prompt", !options.run.prompts.empty(), why, mend);
    refuse("-", std::ranges::count(options.run.specs, "-") > 0, why, mend);
    refuse("--variants", options.variants > 1, why, mend);
    refuse("--seed", options.seed.has_value(), why, mend);
    refuse("--stop", !options.stop.empty(), why, mend);
    for (const auto& [field, text] : options.sampling) {
      std::string option = "--" + field;
      std::ranges::replace(option, '_', '-');
      refuse(option.c_str(), true, why, mend);
    }
  }
  if (into_runs(options)) {
    refuse("--stream", options.stream, "does not go with a run folder", "leave one of them out");
    refuse("--ignore-eos", options.ignore_eos, "does not go with a run folder",
           "leave one of them out");
    return check_run_options(options.run);
  }
  const char* mend = "give a spec, or name a run folder with -o";
  refuse("--set", !options.run.sets.empty(), "is for runs", mend);
  refuse("--quota", !options.run.quota.empty(), "is for runs", mend);
  refuse("--min-free", !options.run.min_free.empty(), "is for runs", mend);
  refuse("--dry-run", options.run.dry_run, "is for runs", mend);
  refuse("--fresh", options.run.fresh, "is for runs", mend);
  refuse("--cache-dir", !options.run.cache.folder.empty(), "is for runs", mend);
}

void check(const EnhanceOptions& options) {
  check_device_name(options.run.device);
  precision_of(options.run.dtype);
  const bool chats = !options.messages.empty() || !options.requests.empty();
  const bool prompts = !options.run.prompts.empty() || !options.run.specs.empty();
  if (chats && prompts)
    throw UsageError(options.messages.empty() ? "--requests" : "--messages",
                     "does not go with prompts or specs", "give one of them");
  if (!options.messages.empty() && !options.requests.empty())
    throw UsageError("--messages", "does not go with --requests", "give one of them");
  if (!chats && !prompts)
    throw UsageError("enhance", "there is no prompt",
                     "give --prompt 'a red apple', or - for a prompt a line on standard input");
  if (chats && into_runs(options))
    throw UsageError("--output", "does not go with chats that are answered on standard output",
                     "write a spec with `task: enhance` and `messages:`");
  check_run_form(options);
  if (chats && !options.style.empty())
    throw UsageError("--style", "has no say in chats that are answered as they are",
                     "leave it out, or give --prompt");
  if (options.run.dtype != "auto" && (options.packing == "int8" || options.packing == "int4"))
    throw UsageError("--dtype", "has no say in weights that --quantize packs", "give one of them");
  if (chats && options.sampling.contains("retries"))
    throw UsageError("--retries", "has no say in chats that are answered as they are",
                     "leave it out, or give --prompt");
  if (options.stream && options.run.json)
    throw UsageError("--stream", "does not go with --json, which prints whole results",
                     "give one of them");
  if (options.stream && !options.requests.empty())
    throw UsageError("--stream", "shows one text as it grows, and --requests has many",
                     "give --messages, or leave it out");
  sampling_of(options, {});
}

uint64_t drawn_seed() {
  std::random_device random;
  return (uint64_t{random()} << 21) ^ random();  // below 2^53: exact in every JSON reader
}

ExitCode enhance(EnhanceOptions options, StopSignal& stop) {
  configure_log(options.run);
  check(options);
  check_device(options.run.device);
  EngineOnDemand engine({choose_device(options.run.device), options.run.threads, ""});
  if (into_runs(options)) return enhance_runs(options, engine, stop);
  if (!options.seed) options.seed = drawn_seed();
  LanguageSession session({.model = language_model_path(options.model),
                           .precision = precision_of(options.run.dtype),
                           .packing = *weight_packing_named(options.packing),
                           .max_sequences = options.max_sequences,
                           .stop_requested = [&stop] { return stop.requested(); }},
                          [&engine]() -> Engine& { return engine(); });
  try {
    const bool chats = !options.messages.empty() || !options.requests.empty();
    return chats ? answer_chats(options, session) : enhance_prompts(options, session);
  } catch (const Interrupted&) {
    log_warning("interrupted; run the same command again");
    return stop.exit_code();
  }
}

}  // namespace

bool names_specs(const EnhanceOptions& options) {
  return std::ranges::any_of(options.run.specs, [](const auto& word) { return word != "-"; });
}

std::optional<double> sampling_number(const EnhanceOptions& options, const std::string& field) {
  const auto found = options.sampling.find(field);
  if (found == options.sampling.end()) return std::nullopt;
  const std::string& text = found->second;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = field == "max_tokens" || field == "top_k" || field == "retries";
  std::string option = "--" + field;
  std::replace(option.begin(), option.end(), '_', '-');
  if (error == std::errc() && end == text.data() + text.size() && (number < 0 || number > 1e9))
    throw UsageError(option + " " + text, "is out of range", "give 0 or more, at most 1e9");
  if (error != std::errc() || end != text.data() + text.size() || std::isnan(number) ||
      (whole && number != static_cast<double>(static_cast<int64_t>(number))))
    throw UsageError(option + " " + text, whole ? "is no whole number" : "is no number",
                     whole ? "give 0 or more" : "give a number, 0 or more");
  if (field == "max_tokens" && number < 1)
    throw UsageError(option + " " + text, "asks for nothing", "give 1 or more");
  return number;
}

Sampling sampling_of(const EnhanceOptions& options, Sampling sampling) {
  const auto set = [&](const char* field, auto& value) {
    if (const auto given = sampling_number(options, field))
      value = static_cast<std::remove_reference_t<decltype(value)>>(*given);
  };
  set("temperature", sampling.temperature);
  set("top_k", sampling.top_k);
  set("top_p", sampling.top_p);
  set("min_p", sampling.min_p);
  set("repetition_penalty", sampling.repetition_penalty);
  if (options.seed) sampling.seed = *options.seed;
  try {
    check_sampling(sampling, "sampling");
  } catch (const ItemError& error) {
    throw UsageError(error.where(), error.problem(), error.mend());
  }
  return sampling;
}

std::filesystem::path language_model_path(const std::string& named) {
  if (!named.empty()) return find_model(named);
  if (const auto shipped = shipped_file("models/smollm2")) return *shipped;
  throw LoadError("models/smollm2", "the bundled language model is not in this installation",
                  "run 'make setup', which fetches it, or give --model");
}

void tell_speed(const LanguageSession& session, double seconds) {
  const auto* all = session.statistics();
  if (!all || all->decode_tokens == 0) return;
  log_detail(fmt::format(
      "{} on {} in {}: {} text(s), {} tokens of prompts ({} shared), {} tokens made, {:.2f} s; "
      "prompts at {:.0f} and texts at {:.0f} tokens/s",
      session.folder().path().filename().string(), session.model()->device(),
      session.model()->dtype(), all->requests, all->prompt_tokens, all->shared_tokens,
      all->decode_tokens, seconds, all->prefill_tokens_per_second(),
      all->decode_tokens_per_second()));
}

Run declare_enhance(CLI::App& app) {
  const auto options = std::make_shared<EnhanceOptions>();
  app.add_option("specs", options->run.specs,
                 "job specs in YAML; -: a prompt a line from standard input");
  declare_own_options(app, *options);
  declare_sampling_options(app, *options);
  return [options](StopSignal& stop) { return enhance(*options, stop); };
}

}  // namespace backlot
