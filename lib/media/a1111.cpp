// The AUTOMATIC1111 web UI's text form of parameters; reference: its modules/processing.py
// (create_infotext) and modules/infotext_utils.py (quote, parse_generation_parameters).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <vector>

#include "base/text.h"
#include "media/embed.h"
#include "media/metadata.h"
#include "media/unicode.h"

namespace backlot {
namespace {

struct Sampler {
  std::string_view scheduler;          // backlot's name
  std::string_view sampler, schedule;  // the web UI's
};

constexpr Sampler samplers[] = {
    {"euler", "Euler", ""},
    {"euler_ancestral", "Euler a", ""},
    {"ddim", "DDIM", ""},
    {"dpmpp_2m", "DPM++ 2M", ""},
    {"dpmpp_2m_karras", "DPM++ 2M", "Karras"},
    {"dpmpp_2m_sde_karras", "DPM++ 2M SDE", "Karras"},
    {"unipc", "UniPC", ""},
    {"lcm", "LCM", ""},
    {"heun", "Heun", ""},
    {"pndm", "PLMS", ""},
};

constexpr std::pair<std::string_view, std::string_view> sampler_classes[] = {
    {"EulerDiscreteScheduler", "Euler"},
    {"EulerAncestralDiscreteScheduler", "Euler a"},
    {"DDIMScheduler", "DDIM"},
    {"DPMSolverMultistepScheduler", "DPM++ 2M"},
    {"UniPCMultistepScheduler", "UniPC"},
    {"LCMScheduler", "LCM"},
    {"HeunDiscreteScheduler", "Heun"},
    {"PNDMScheduler", "PLMS"},
};

bool is_true(const Json& object, std::string_view key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

std::string text_of(const Json& object, std::string_view key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// The web UI's sampler and schedule type for a job's `scheduler`, empty where it has none.
std::pair<std::string, std::string> sampler_of(const Json& scheduler) {
  if (scheduler.is_string()) {
    for (const auto& known : samplers)
      if (known.scheduler == scheduler.get_ref<const std::string&>())
        return {std::string(known.sampler), std::string(known.schedule)};
  }
  if (!scheduler.is_object()) return {};
  const std::string name = text_of(scheduler, "_class_name");
  std::string sampler;
  for (const auto& known : sampler_classes)
    if (known.first == name) sampler = known.second;
  if (sampler == "DPM++ 2M" && text_of(scheduler, "algorithm_type").starts_with("sde-"))
    sampler += " SDE";
  const std::string schedule = is_true(scheduler, "use_karras_sigmas")        ? "Karras"
                               : is_true(scheduler, "use_exponential_sigmas") ? "Exponential"
                               : is_true(scheduler, "use_beta_sigmas")        ? "Beta"
                                                                              : "";
  return {sampler, sampler.empty() ? "" : schedule};
}

std::string quote(const std::string& value) {
  return value.find_first_of(",\n:") == value.npos ? value : Json(value).dump();
}

std::string value_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number_float() ? fmt::format("{}", value.get<double>()) : value.dump();
}

// "Key: value, Key: value", in the order of the calls.
class SettingsLine {
 public:
  void add(std::string_view key, const std::string& value) {
    if (value.empty()) return;
    if (!line_.empty()) line_ += ", ";
    line_ += fmt::format("{}: {}", key, quote(value));
  }
  void add(std::string_view key, const Json& object, std::string_view field) {
    const auto found = object.find(field);
    if (found != object.end() && found->is_primitive() && !found->is_null())
      add(key, value_text(*found));
  }
  const std::string& text() const { return line_; }

 private:
  std::string line_;
};

// The model's name as people know it: the last part of its path, without ".safetensors".
std::string model_name(const Json& model) {
  std::string name = text_of(model, "path");
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  name = name.substr(name.rfind('/') + 1);
  if (name.ends_with(".safetensors")) name.resize(name.rfind('.'));
  return name;
}

struct Setting {
  std::string key, value;
};

bool is_key(std::string_view key) {
  if (key.size() < 2) return false;
  return std::all_of(key.begin(), key.end(), [](char c) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return word || c == '_' || c == ' ' || c == '-' || c == '/' || static_cast<uint8_t>(c) >= 0x80;
  });
}

// The end of the quoted value that starts `text`, just past its closing quote; nothing if it does
// not end before a comma or the end of the line, and so is no quoted value.
std::optional<size_t> quoted_end(std::string_view text) {
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      const auto rest = trim(text.substr(i + 1));
      return rest.empty() || rest.front() == ',' ? std::optional(i + 1) : std::nullopt;
    }
  }
  return std::nullopt;
}

std::string unquote(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    const Json parsed = Json::parse(value, nullptr, false);
    if (parsed.is_string()) return parsed.get<std::string>();
  }
  return std::string(value);
}

std::vector<Setting> parse_settings(std::string_view line) {
  std::vector<Setting> out;
  while (!line.empty()) {
    const size_t colon = line.find_first_of(",:");
    if (colon == line.npos) break;
    const auto key = trim(line.substr(0, colon));
    const bool setting = line[colon] == ':' && is_key(key);
    line.remove_prefix(colon + 1);
    if (!setting) continue;
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    size_t end = line.find(',');
    if (line.starts_with('"')) end = quoted_end(line).value_or(end);
    end = std::min(end, line.size());
    out.push_back({std::string(key), unquote(trim(line.substr(0, end)))});
    line.remove_prefix(std::min(line.find(',', end), line.size() - 1) + 1);
  }
  return out;
}

template <typename T>
std::optional<T> number(std::string_view text) {
  T out{};
  const auto end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, out);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return out;
}

// Takes `key` out of `settings`; empty if it is not there.
std::string take(std::vector<Setting>& settings, std::string_view key) {
  const auto found = std::find_if(settings.begin(), settings.end(),
                                  [&](const Setting& setting) { return setting.key == key; });
  if (found == settings.end()) return "";
  std::string value = std::move(found->value);
  settings.erase(found);
  return value;
}

// backlot's name for a sampler, if it has just that one. Older texts join sampler and schedule.
std::optional<std::string_view> scheduler_named(std::string sampler, std::string schedule) {
  if (schedule.empty() && sampler.ends_with(" Karras")) {
    sampler.resize(sampler.size() - 7);
    schedule = "Karras";
  }
  // What the web UI does by itself for these samplers.
  if (schedule == "Automatic") schedule = sampler.starts_with("DPM++ 2M") ? "Karras" : "";
  for (const auto& known : samplers)
    if (known.sampler == sampler && known.schedule == schedule) return known.scheduler;
  return std::nullopt;
}

template <typename T>
void move_number(std::vector<Setting>& settings, std::string_view key, Json& out,
                 std::string_view field) {
  const std::string text = take(settings, key);
  if (const auto value = number<T>(text))
    out[std::string(field)] = *value;
  else if (!text.empty())
    settings.push_back({std::string(key), text});
}

Json parameters_from(std::vector<Setting>& settings) {
  Json out = Json::object();
  move_number<uint64_t>(settings, "Seed", out, "seed");
  move_number<uint32_t>(settings, "Steps", out, "steps");
  move_number<double>(settings, "CFG scale", out, "guidance_scale");
  if (out.contains("guidance_scale") && !std::isfinite(out["guidance_scale"].get<double>()))
    out.erase("guidance_scale");
  move_number<double>(settings, "Denoising strength", out, "strength");

  move_number<uint32_t>(settings, "Frames", out, "frames");
  move_number<double>(settings, "FPS", out, "fps");

  const std::string size = take(settings, "Size");
  const size_t cross = std::min(size.find('x'), size.size());
  const auto width = number<uint32_t>(std::string_view(size).substr(0, cross));
  const auto height =
      number<uint32_t>(std::string_view(size).substr(std::min(cross + 1, size.size())));
  if (width && height) {
    out["width"] = *width;
    out["height"] = *height;
  }

  const std::string sampler = take(settings, "Sampler"), schedule = take(settings, "Schedule type");
  if (const auto name = scheduler_named(sampler, schedule)) {
    out["scheduler"] = *name;
  } else {
    if (!sampler.empty()) settings.push_back({"Sampler", sampler});
    if (!schedule.empty()) settings.push_back({"Schedule type", schedule});
  }
  if (const auto skip = number<uint32_t>(take(settings, "Clip skip")); skip && *skip > 2)
    out["clip_skip"] = *skip - 2;
  if (const auto interval = number<uint32_t>(take(settings, "DeepCache interval")))
    out["cache"] = *interval;
  return out;
}

}  // namespace

std::string a1111_parameters(const Json& item) {
  static const Json none = Json::object();
  const auto part = [&](std::string_view key) -> const Json& {
    const auto found = item.find(key);
    return found != item.end() && found->is_object() ? *found : none;
  };
  const Json &parameters = part("parameters"), &model = part("model");

  SettingsLine settings;
  settings.add("Steps", parameters, "steps");
  const auto [sampler, schedule] =
      sampler_of(parameters.contains("scheduler") ? parameters["scheduler"] : none);
  settings.add("Sampler", sampler);
  settings.add("Schedule type", schedule);
  settings.add("CFG scale", parameters, "guidance_scale");
  settings.add("Seed", parameters, "seed");
  if (parameters.contains("width") && parameters.contains("height"))
    settings.add("Size", fmt::format("{}x{}", value_text(parameters["width"]),
                                     value_text(parameters["height"])));
  settings.add("Frames", parameters, "frames");
  settings.add("FPS", parameters, "fps");
  settings.add("Model hash", text_of(model, "fingerprint").substr(0, 10));
  settings.add("Model", model_name(model));
  settings.add("Denoising strength", parameters, "strength");
  const auto skip = parameters.find("clip_skip");
  if (skip != parameters.end() && skip->is_number_integer() && skip->get<int64_t>() > 0)
    settings.add("Clip skip", std::to_string(skip->get<int64_t>() + 2));
  settings.add("DeepCache interval", parameters, "cache");
  settings.add("Version", "backlot " BACKLOT_VERSION);

  std::string out = prompt_among(parameters);
  const std::string negative = text_of(parameters, "negative_prompt");
  if (!out.empty()) out += '\n';
  if (!negative.empty()) out += fmt::format("Negative prompt: {}\n", negative);
  out += settings.text();
  std::replace(out.begin(), out.end(), '\0', ' ');
  return encode_utf8(decode_utf8(out));
}

Json parse_a1111_parameters(std::string_view text) {
  const std::string clean = encode_utf8(decode_utf8(trim(text)));
  auto lines = split(clean, '\n');
  auto settings = parse_settings(lines.back());
  // A last line with fewer settings belongs to the prompt: the web UI's rule.
  if (settings.size() < 3)
    settings.clear();
  else
    lines.pop_back();

  std::string prompt, negative;
  bool in_negative = false;
  constexpr std::string_view mark = "Negative prompt:";
  for (std::string_view line : lines) {
    line = trim(line);
    if (line.starts_with(mark)) {
      in_negative = true;
      line = trim(line.substr(mark.size()));
    }
    std::string& to = in_negative ? negative : prompt;
    if (!to.empty()) to += '\n';
    to += line;
  }

  Json out{{"parameters", {{"prompt", prompt}}}};
  if (in_negative) out["parameters"]["negative_prompt"] = negative;
  out["parameters"].update(parameters_from(settings));
  const std::string name = take(settings, "Model"), hash = take(settings, "Model hash");
  if (!name.empty()) out["model"]["path"] = name;
  if (!hash.empty()) out["model"]["hash"] = hash;
  for (const auto& setting : settings) out["other"][setting.key] = setting.value;
  out["from_a1111_text"] = true;
  return without_folders(out);
}

}  // namespace backlot
