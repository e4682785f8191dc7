// report.html: a run as one page to look at. Self-contained: pictures, clips and their posters by
// relative path, no network.
#pragma once

#include <string>

#include "base/files.h"
#include "base/json.h"

namespace backlot {

// The page for a manifest. All text in it is treated as hostile: the page shows it, never runs it.
// Throws EnvironmentError about `source` if `manifest` is not one.
std::string report_html(const Json& manifest, const fs::path& source);

// Reads manifest.json in `run_folder` and replaces report.html there. It may run beside a live run,
// and shows the run as of its last manifest; where shards worked, that is made anew first
// (renew_shared_manifest). Clips get posters (run/posters.h). Returns the report's path. Throws
// EnvironmentError: no manifest there, damaged, or the page can't be written.
fs::path build_report(const fs::path& run_folder);

}  // namespace backlot
