#include "spec/expansion.h"

#include <fmt/format.h>

#include "spec/scenes.h"

namespace backlot {
namespace {

// How many values an axis has once alternatives in its texts are written out.
uint64_t axis_size(const Axis& axis) {
  if (!axis.field->alternatives) return axis.values.size();
  uint64_t sum = 0;
  for (const auto& given : axis.values)
    sum = saturating_sum(sum, given.value.is_string()
                                  ? Alternatives(given.value.get_ref<const std::string&>()).count()
                                  : 1);
  return sum;
}

FieldValue axis_value(const Axis& axis, uint64_t index) {
  if (!axis.field->alternatives) return axis.values[index];
  for (const auto& given : axis.values) {
    if (!given.value.is_string()) {
      if (index-- == 0) return given;
      continue;
    }
    const Alternatives texts(given.value.get_ref<const std::string&>());
    if (index < texts.count()) return {given.field, texts.text(index), given.mark};
    index -= texts.count();
  }
  return axis.values.back();
}

bool varies(const Job& job, const Field* field) {
  return std::ranges::count(job.matrix, field, &Axis::field) > 0;
}

}  // namespace

Expansion::Expansion(const SpecDocument& document, const Job& job, const Row* row) : zip_(job.zip) {
  FieldValues given = document.defaults;
  given.set_all(job.fields);
  if (row) given.set_all(row->fields);
  for (const auto& field : job_fields()) {
    const auto* value = given.find(&field);
    if (!value || varies(job, &field)) continue;
    if (field.name == "count") {
      if (!value->value.is_null()) count_ = value->value.get<uint64_t>();
    } else if (field.alternatives && value->value.is_string()) {
      add_text(document, *value);
    } else if (field.kind == FieldKind::scenes && !value->value.is_null()) {
      add_scenes(document, *value);
    } else {
      fields_.set(*value);
    }
  }
  for (const auto& axis : job.matrix) choices_.push_back({&axis, 0, axis_size(axis)});
  check_prompt(document, job, row);
  if (!zip_) {
    for (const auto& choice : choices_)
      combinations_ = saturating_product(combinations_, choice.size);
    return;
  }
  // A group with one choice is no axis: it says the same in every item.
  std::vector<std::string> lengths;
  for (const auto& choice : choices_) {
    if (choice.size == 1 && !choice.axis) continue;
    lengths.push_back(fmt::format(
        "{} has {}", choice.axis ? choice.axis->field->name : texts_[choice.text].value.field->name,
        choice.size));
    if (lengths.size() > 1 && choice.size != combinations_)
      document.sources.fail(
          job.expand_mark,
          fmt::format("zip needs lists of one length, but {}", fmt::join(lengths, ", ")),
          "make them equally long, or use expand: product");
    combinations_ = choice.size;
  }
}

Expansion::Text& Expansion::add_text(const SpecDocument& document, const FieldValue& value) {
  Alternatives alternatives =
      document.sources.at(value.mark, std::string(value.field->name) + " ",
                          [&] { return Alternatives(value.value.get_ref<const std::string&>()); });
  const size_t first = choices_.size();
  for (const uint64_t size : alternatives.groups())
    choices_.push_back({nullptr, texts_.size(), size});
  return texts_.emplace_back(Text{value, std::move(alternatives), first});
}

void Expansion::add_scenes(const SpecDocument& document, const FieldValue& scenes) {
  fields_.set(scenes);
  for (size_t i = 0; i < scenes.value.size(); ++i)
    for (const char* key : {"prompt", "negative_prompt"}) {
      const auto text = scenes.value[i].find(key);
      if (text == scenes.value[i].end() || !text->is_string()) continue;
      Text& added = add_text(document, {scenes.field, *text, scene_mark(scenes, i, key)});
      added.scene = i;
      added.scene_key = key;
    }
}

void Expansion::check_prompt(const SpecDocument& document, const Job& job, const Row* row) const {
  const Field *prompt = find_field("prompt"), *messages = find_field("messages");
  const auto* scenes = fields_.find("scenes");
  const auto* chat = fields_.find(messages);
  if ((chat && !chat->value.is_null()) || varies(job, messages)) {
    const auto is_prompt = [&](const Text& text) { return text.value.field == prompt; };
    const auto text = std::ranges::find_if(texts_, is_prompt);
    if (text != texts_.end() || varies(job, prompt))
      document.sources.fail(text != texts_.end() ? text->value.mark : job.mark,
                            "prompt and messages are given", "remove one of the two");
    return;
  }
  const auto in_text =
      std::ranges::find_if(texts_, [&](const Text& text) { return text.value.field == prompt; });
  if (scenes && !scenes->value.is_null()) {
    if (in_text != texts_.end() || varies(job, prompt))
      document.sources.fail(in_text != texts_.end() ? in_text->value.mark : job.mark,
                            "prompt and scenes are given, which have their own prompts",
                            "remove one of the two");
    return;
  }
  if (in_text != texts_.end()) return;
  for (const auto& axis : job.matrix)
    if (axis.field == prompt) {
      for (const auto& given : axis.values)
        if (given.value.is_null())
          document.sources.fail(given.mark, "prompt is null", "give a text; \"\" is an empty one");
      return;
    }
  document.sources.fail(row ? row->mark : job.mark, "prompt is missing",
                        row ? "give the row or the job one" : "add `prompt: …`");
}

std::vector<uint64_t> Expansion::choices_of(uint64_t index) const {
  std::vector<uint64_t> digits(choices_.size());
  for (size_t i = choices_.size(); i-- > 0;) {
    if (zip_) {
      digits[i] = choices_[i].size == 1 ? 0 : index;
    } else {
      digits[i] = index % choices_[i].size;
      index /= choices_[i].size;
    }
  }
  return digits;
}

FieldValues Expansion::combination(uint64_t index) const {
  const auto digits = choices_of(index);
  FieldValues out = fields_;
  FieldValue scenes;
  if (const auto* given = fields_.find("scenes")) scenes = *given;
  for (const auto& text : texts_) {
    const std::span<const uint64_t> chosen(digits.data() + text.first_choice,
                                           text.alternatives.groups().size());
    if (text.scene_key)
      scenes.value[text.scene][text.scene_key] = text.alternatives.text(chosen);
    else
      out.set({text.value.field, text.alternatives.text(chosen), text.value.mark});
  }
  if (scenes.field) out.set(std::move(scenes));
  for (size_t i = 0; i < choices_.size(); ++i)
    if (choices_[i].axis) out.set(axis_value(*choices_[i].axis, digits[i]));
  return out;
}

void for_each_expansion(const SpecDocument& document,
                        const std::function<void(const Job&, const Expansion&)>& visit) {
  for (const auto& job : document.jobs) {
    if (!job.prompts_from) {
      visit(job, Expansion(document, job, nullptr));
      continue;
    }
    for (const auto& row : job.rows) visit(job, Expansion(document, job, &row));
  }
}

}  // namespace backlot
