// The texts that a plan's enhance stage is to make, each once however many items use it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "spec/spec.h"

namespace backlot {

// The id of the text that an item with these parameters has its prompt replaced by: it follows from
// their prompt and their "enhance". "" if they have none.
std::string text_id_of(const Json& parameters);

class PlannedTexts {
 public:
  // Keeps references.
  PlannedTexts(const SpecDocument& document, const PlanContext& context)
      : document_(document), context_(context) {}

  // Puts "enhance" into the item's parameters and sets its text_id, from 0 the `variant`th text of
  // its prompt. Throws SpecError for a style that is not there, for variants that can't differ, and
  // if the context knows nothing of language models; LoadError if the model is not there.
  void add(const EnhanceStage& stage, int64_t variant, Item& item);

  // What `stage` asks for, but for its id; a seed for each of its variants follows from the first.
  // `what` has the prompt or the messages. Throws as add().
  PlannedText describe(const EnhanceStage& stage, const Json& what);

  // The parameters of that text as an item of its own.
  static Json parameters(const PlannedText& text);

  // Makes `item` that text's. Its id is that of the text.
  void add_item(PlannedText text, Item& item);

  std::vector<PlannedText> take() { return std::move(texts_); }

 private:
  struct Model {
    std::filesystem::path path;
    std::string fingerprint;
  };
  const Model& model(const EnhanceStage& stage);
  void keep(PlannedText text);
  std::shared_ptr<const Style> style(const EnhanceStage& stage);

  const SpecDocument& document_;
  const PlanContext& context_;
  std::map<std::string, Model> models_;  // by what the spec wrote
  std::map<std::string, std::shared_ptr<const Style>> styles_;
  std::unordered_set<std::string> ids_;
  std::vector<PlannedText> texts_;
};

}  // namespace backlot
