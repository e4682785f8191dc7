#include "run/report.h"

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "run/posters.h"
#include "run/rooted_folder.h"
#include "run/stored_run.h"

namespace backlot {
namespace {

constexpr std::string_view page =
#include "report_template.inc"
    ;

constexpr uint64_t max_manifest_bytes = uint64_t{4} << 30;
constexpr int64_t max_exact_in_javascript = (int64_t{1} << 53) - 1;

// JSON that can't end the script element it stands in. Outside of strings JSON has none of these
// characters, so replacing them everywhere changes no value.
std::string json_for_script(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;
  out.reserve(text.size() + text.size() / 16);
  for (const char c : text) switch (c) {
      case '<':
        out += "\\u003c";
        break;
      case '>':
        out += "\\u003e";
        break;
      case '&':
        out += "\\u0026";
        break;
      default:
        out += c;
    }
  return out;
}

// Seeds use all 64 bits; a browser's numbers don't, so large ones travel as text.
void keep_large_integers_exact(Json& value) {
  if (value.is_structured()) {
    for (auto& child : value) keep_large_integers_exact(child);
  } else if (value.is_number_unsigned()
                 ? value.get<uint64_t>() > max_exact_in_javascript
                 : value.is_number_integer() && value.get<int64_t>() < -max_exact_in_javascript) {
    value = value.dump();
  }
}

// Takes what all items have in common out of their parameters.
Json common_parameters(Json& items) {
  Json common = Json::object();
  if (items.empty()) return common;
  common = items[0]["parameters"];
  for (const auto& item : items)
    for (auto entry = common.begin(); entry != common.end();) {
      const Json& parameters = item["parameters"];
      const auto found = parameters.find(entry.key());
      entry =
          found != parameters.end() && *found == *entry ? std::next(entry) : common.erase(entry);
    }
  for (auto& item : items)
    for (const auto& [key, value] : common.items()) item["parameters"].erase(key);
  return common;
}

Json page_item(const Json& item) {
  Json out;
  for (const auto* key : {"index", "job", "status", "output", "sha256", "bytes", "width", "height",
                          "parameters", "device", "dtype", "quantization", "batch", "started",
                          "seconds", "attempts", "warnings", "error"})
    out[key] = item.at(key);
  // What an enhance stage made of the prompt.
  for (const auto* key : {"prompt", "enhanced_prompt", "enhancement"})
    if (const auto found = item.find(key); found != item.end() && !found->is_null())
      out[key] = *found;
  if (out.contains("enhancement")) keep_large_integers_exact(out["enhancement"]);
  // Of clips alone.
  for (const auto* key : {"frames", "fps", "codec", "poster", "scenes"})
    if (const auto found = item.find(key); found != item.end() && !found->is_null())
      out[key] = *found;
  if (out.contains("scenes")) keep_large_integers_exact(out["scenes"]);
  out["model"] = item.at("model").at("path");
  out["fingerprint"] = item.at("model").at("fingerprint");
  if (!out["parameters"].is_object()) out["parameters"] = Json::object();
  keep_large_integers_exact(out["parameters"]);
  return out;
}

}  // namespace

std::string report_html(const Json& manifest, const fs::path& source) {
  Json data;
  std::string title;
  try {
    for (const auto* key : {"name", "task", "backlot", "started", "updated", "totals", "models",
                            "software", "devices"})
      data[key] = manifest.at(key);
    title = data["name"].get<std::string>();
    Json items = Json::array();
    for (const auto& item : manifest.at("items")) items.push_back(page_item(item));
    data["common"] = common_parameters(items);
    data["items"] = std::move(items);
  } catch (const Json::exception&) {
    throw EnvironmentError(source.string(), "is not a manifest that this backlot can read",
                           "run the job again to renew it");
  }
  std::string html(page);
  const auto fill = [&](std::string_view mark, const std::string& text) {
    html.replace(html.find(mark), mark.size(), text);
  };
  fill("@@TITLE@@", escape_html(title));
  fill("@@DATA@@", json_for_script(data));
  return html;
}

fs::path build_report(const fs::path& run_folder) {
  renew_shared_manifest(run_folder);
  const RootedFolder root(run_folder);
  const fs::path source = run_folder / "manifest.json";
  const auto text = root.read("manifest.json", max_manifest_bytes);
  if (!text)
    throw EnvironmentError(
        source.string(), "no such file",
        "name a run folder; if its manifest was removed, run its job again, which writes it anew");
  Json manifest = Json::parse(*text, nullptr, false);
  if (manifest.is_discarded())
    throw EnvironmentError(source.string(), "is damaged", "run the job again to renew it");
  add_posters(root, manifest);
  root.write_durably("report.html", report_html(manifest, source));
  return run_folder / "report.html";
}

}  // namespace backlot
