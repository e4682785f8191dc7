// The job spec's description for other programs and for people, made from the table of fields.
#pragma once

#include <string>

#include "base/json.h"

namespace backlot {

// JSON Schema (draft 2020-12) of a job spec; docs/schema/jobspec.schema.json is this.
Json spec_schema();

// A Markdown table of all job fields; docs/jobspec.md holds it.
std::string field_table();

}  // namespace backlot
