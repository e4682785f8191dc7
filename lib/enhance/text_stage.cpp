#include "enhance/text_stage.h"

#include <algorithm>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/files.h"
#include "base/sha256.h"
#include "base/time.h"
#include "enhance/enhancer.h"

namespace backlot {
namespace {

TextRecord record_of(const PlannedText& planned, const EnhancedText& made) {
  TextRecord record;
  record.id = planned.id;
  record.prompt = planned.prompt;
  record.text = made.text;
  record.fell_back = made.fell_back;
  record.note = made.note;
  record.tries = made.tries;
  record.seed = made.seed;
  record.finish_reason = made.finish_reason;
  record.prompt_tokens = made.prompt_tokens;
  record.tokens = made.tokens;
  record.made = utc_now();
  return record;
}

// `tokenizer` is the file that counts the text's tokens; empty: backlot's own way of counting.
std::string cache_key(const PlannedText& text, const MadeWith& how, std::string_view version,
                      const fs::path& tokenizer) {
  Json of = {{"schema", 1},
             {"text", text.id},
             {"device", how.device},
             {"dtype", how.dtype},
             {"quantization", how.quantization},
             {"backlot", version}};
  if (!tokenizer.empty()) of["tokenizer"] = sha256_hex(read_file(tokenizer));
  return sha256_hex(canonical_json(of));
}

// What counts an encoder's tokens in the first tokenizer's folder of a model, which is a folder or
// a single file; "" if it brings none, and then CLIP's texts are encoded with the shipped one.
fs::path tokenizer_of(const fs::path& model, TextEncoder encoder) {
  std::error_code unreadable;
  const fs::path own =
      (fs::is_directory(model, unreadable) ? model : model.parent_path()) / "tokenizer";
  const std::vector<const char*> names = encoder == TextEncoder::clip
                                             ? std::vector{"merges.txt"}
                                             : std::vector{"tokenizer.json", "spiece.model"};
  for (const char* name : names)
    if (fs::exists(own / name, unreadable)) return own / name;
  return {};
}

// One call of make_texts().
class Stage {
 public:
  Stage(const Plan& plan, RunFolder& folder, const TextStageOptions& options)
      : plan_(plan), folder_(folder), options_(options) {
    totals_.found = std::ranges::count_if(
        plan.texts, [&](const PlannedText& text) { return folder.text(text.id).has_value(); });
    std::map<std::string_view, TextEncoder> encoders;  // by the texts' ids
    for (const auto& text : plan.texts)
      if (text.style) encoders[text.id] = text.style->limits.encoder;  // chats have none
    std::map<std::pair<fs::path, TextEncoder>, fs::path> tokenizers;
    for (const Item& item : plan.items) {
      const auto encoder = encoders.find(item.text_id);
      if (encoder == encoders.end()) continue;
      const auto [known, added] = tokenizers.try_emplace({item.model, encoder->second});
      if (added) known->second = tokenizer_of(item.model, encoder->second);
      tokenizers_.emplace(item.text_id, known->second);
    }
  }

  // What is neither in the folder nor in the cache, by the model that is to make it.
  std::map<fs::path, std::vector<const PlannedText*>> missing() {
    std::unordered_set<std::string_view> needed;
    for (const Item* item : folder_.pending())
      if (!item->text_id.empty()) needed.insert(item->text_id);
    std::map<fs::path, std::vector<const PlannedText*>> missing;
    for (const auto& text : plan_.texts)
      if (needed.contains(text.id) && !folder_.text(text.id) && !take_cached(text))
        missing[text.model].push_back(&text);
    return missing;
  }

  void make(const std::vector<const PlannedText*>& texts, TextMaker& maker) {
    std::vector<const PlannedText*> chats, prompts;
    for (const PlannedText* text : texts)
      (text->messages.is_null() ? prompts : chats).push_back(text);
    if (!chats.empty()) answer(chats, maker);
    if (!prompts.empty()) enhance(prompts, maker);
  }

  TextTotals totals() const { return totals_; }

 private:
  // As they are: nothing is said of what an answer should be like.
  void answer(const std::vector<const PlannedText*>& chats, TextMaker& maker) {
    std::vector<TextRequest> requests;
    for (const PlannedText* chat : chats)
      requests.push_back({chat->messages, chat->seed, chat->sampling});
    maker.make(requests, [&](size_t request, MadeText made) {
      const PlannedText& chat = *chats[request];
      if (!made.error.empty()) {
        if (options_.failed) options_.failed(chat, made.error);
        return;
      }
      EnhancedText text;
      text.text = std::move(made.text);
      text.tries = 1;
      text.seed = chat.seed;
      text.finish_reason = std::move(made.finish_reason);
      text.prompt_tokens = made.prompt_tokens;
      text.tokens = made.tokens;
      keep_made(chat, text);
    });
  }

  void enhance(const std::vector<const PlannedText*>& texts, TextMaker& maker) {
    Enhancer enhancer(maker);
    for (const auto& text : plan_.texts)
      if (const auto known = text.style ? folder_.text(text.id) : std::nullopt)
        enhancer.avoid(text.prompt, *text.style, known->text);
    std::vector<EnhanceRequest> requests;
    for (const PlannedText* text : texts)
      requests.push_back({text->prompt, text->style.get(), text->sampling, text->retries,
                          text->seed, tokenizer_for(*text).parent_path()});
    enhancer.enhance(requests, [&](size_t request, const EnhancedText& made) {
      // Where the text is all that is wanted, a prompt that the model can't read is no text.
      if (options_.failed && made.fell_back && made.finish_reason.empty())
        return options_.failed(*texts[request], made.note);
      keep_made(*texts[request], made);
    });
  }

  fs::path tokenizer_for(const PlannedText& text) const {
    const auto found = tokenizers_.find(text.id);
    return found == tokenizers_.end() ? fs::path() : found->second;
  }

  std::string key_in_cache(const PlannedText& text) const {
    return cache_key(text, options_.how, options_.cache->version(), tokenizer_for(text));
  }

  void keep_made(const PlannedText& text, const EnhancedText& made) {
    const TextRecord record = record_of(text, made);
    put_into_cache(text, record);
    ++totals_.made;
    totals_.fell_back += record.fell_back;
    keep(record, false);
  }

  void keep(const TextRecord& record, bool cached) {
    folder_.record_text(record);
    if (options_.told) options_.told(record, cached);
  }

  bool take_cached(const PlannedText& text) {
    if (!options_.cache) return false;
    const auto hit = options_.cache->get(key_in_cache(text));
    if (!hit) return false;
    const auto record = text_from_json(Json::parse(hit->bytes, nullptr, false));
    if (!record || record->id != text.id) return false;
    ++totals_.cached;
    keep(*record, true);
    return true;
  }

  void put_into_cache(const PlannedText& text, const TextRecord& record) {
    if (!options_.cache) return;
    CachedOutput output;
    output.bytes = to_json(record).dump();
    output.sha256 = sha256_hex(output.bytes);
    output.attempt.started = record.made;
    output.attempt.device = options_.how.device;
    output.attempt.dtype = options_.how.dtype;
    output.attempt.quantization = options_.how.quantization;
    options_.cache->put(key_in_cache(text), output);
  }

  const Plan& plan_;
  RunFolder& folder_;
  const TextStageOptions& options_;
  std::map<std::string, fs::path, std::less<>> tokenizers_;  // by the texts' ids
  TextTotals totals_;
};

}  // namespace

TextTotals make_texts(Plan& plan, RunFolder& folder, const LoadTextMaker& load,
                      const TextStageOptions& options) {
  Stage stage(plan, folder, options);
  for (const auto& [model, texts] : stage.missing()) stage.make(texts, *load(model));
  for (auto& item : plan.items)
    if (!item.text_id.empty())
      if (const auto known = folder.text(item.text_id)) item.enhanced_prompt = known->text;
  return stage.totals();
}

}  // namespace backlot
