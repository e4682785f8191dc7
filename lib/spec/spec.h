// Job specs: read, checked, expanded into a plan of items.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"
#include "engine/video.h"
#include "spec/enhance_stage.h"
#include "spec/field_values.h"
#include "spec/item.h"
#include "spec/rows.h"
#include "spec/tree.h"

namespace backlot {

// One field's values in a job's matrix.
struct Axis {
  const Field* field;
  Mark mark;
  std::vector<FieldValue> values;  // at least one; their alternatives are not yet expanded
};

struct Job {
  std::string id;  // "job-N", counted from 1, if the spec gives none
  bool named = false;
  Mark mark;
  FieldValues fields;
  std::vector<Axis> matrix;
  bool zip = false;
  Mark expand_mark;
  std::optional<std::string> prompts_from;  // as written
  std::vector<Row> rows;                    // what that file holds
  std::optional<EnhanceStage> enhance;      // the spec's with the job's laid over it
};

// A spec, parsed and validated as far as that goes without looking at models.
struct SpecDocument {
  Sources sources;               // makes a Mark readable
  std::filesystem::path folder;  // what paths are relative to, absolute
  Mark mark;
  std::string name;  // of the run folder: one safe path component
  Task task = Task::text_to_image;
  std::string model;  // as written
  Mark model_mark;
  FieldValues defaults;  // the preset's, overlaid with the spec's own
  std::vector<Job> jobs;
  std::optional<EnhanceStage> enhance;  // of jobs that say nothing else
  std::string output_dir = "out";       // relative to the current folder
  OutputSettings output;
};

// Reads and validates a spec and the tables that it names. Each of `sets` is "path=value" and
// overrides one value before validation: "defaults.steps=4", "jobs[0].prompt=a pear",
// "jobs[*].width=256", "output.dir=x". Text values are taken as they stand, others as YAML.
// Throws SpecError with file:line:column (or "--set path") as where.
SpecDocument read_spec(const std::filesystem::path& file,
                       const std::vector<std::string>& sets = {});

// The form without a spec file: one job a prompt (one altogether if `fields` has prompts_from).
// `fields` maps names of job fields, and of model, name, preset, output, matrix and expand, to
// values; text where a field wants something else is read as such, so that command-line arguments
// may be handed over as they are. Relative paths are relative to the current folder; `where` of
// errors is the option ("--width"). The name defaults to the first prompt's slug.
SpecDocument quick_spec(const Json& fields, const std::vector<std::string>& prompts,
                        const std::vector<std::string>& sets = {});

// What planning needs to know of a model; taken from its configs, without reading weights.
struct ModelFacts {
  std::string fingerprint;
  int64_t default_width = 1024, default_height = 1024;  // pixels: sample_size * 8
  ModelFamily family = ModelFamily::sdxl;
  int64_t side_multiple = 8;      // pixels that width and height are multiples of
  int64_t frames_multiple = 4;    // clips have one frame more than a multiple of this
  bool two_transformers = false;  // whether guidance_scale_2 means anything
};

struct PlanContext {
  // Called once for each distinct variant in the plan, with an absolute path.
  std::function<ModelFacts(const std::filesystem::path& model,
                           const std::optional<std::string>& variant)>
      model_facts;
  // The fingerprint of a language model; called once for each in the plan, with an absolute path.
  // Without it a spec with an enhance stage is refused.
  std::function<std::string(const std::filesystem::path& model)> language_model = {};
  uint64_t base_seed = 0;                       // decides the seeds of items that have none
  std::optional<std::filesystem::path> output;  // the run folder itself, if not OUTPUT.DIR/NAME
};

// How many items the spec expands to. Looks at no model. Throws SpecError if there are more than a
// million.
uint64_t count_items(const SpecDocument& document);

// Expands the spec, in the order: jobs; rows of their tables; alternatives in prompts, then the
// matrix (the last axis varies fastest); variants of the enhance stage; count. A seed that nobody
// gave is derived from base_seed, the item's parameters and how many like it came before, below
// 2^31, so that the same spec and base_seed give the same plan. Throws SpecError: too many items,
// an item without a prompt, two items that are the same; LoadError if the model's or a VAE's folder
// is not there; and what `model_facts` throws.
Plan make_plan(const SpecDocument& document, const PlanContext& context);

// What the engine is asked for. Throws ItemError if the parameters are none that make_plan makes.
ImageRequest image_request(const Item& item);

// The same of an item that a video model makes.
VideoRequest video_request(const Item& item);

}  // namespace backlot
