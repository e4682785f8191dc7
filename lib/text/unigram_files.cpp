#include "text/unigram_files.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <unordered_set>

#include "base/error.h"
#include "base/text.h"
#include "text/character_map.h"
#include "text/pre_tokenizer.h"
#include "text/sentencepiece_model.h"
#include "text/unicode.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

constexpr char mend[] = "give the tokenizer folder of a T5 or UMT5 text encoder";
constexpr char t5_class[] = "T5Tokenizer";
constexpr int64_t t5_unknown = 2;  // whatever the file says
constexpr size_t most_steps = 32;

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored);
}

[[noreturn]] void refuse(const fs::path& file, const std::string& what) {
  throw LoadError(file.string(), what, mend);
}

std::string shown(const nlohmann::json& step) {
  return step.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 120);
}

std::string type_of(const nlohmann::json& step) {
  if (!step.is_object()) return "";
  const auto type = step.find("type");
  return type != step.end() && type->is_string() ? type->get<std::string>() : "";
}

bool flag(const nlohmann::json& object, const char* key, bool otherwise, const fs::path& file) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return otherwise;
  if (!found->is_boolean()) throw_damaged(file, fmt::format("'{}' is not true or false", key));
  return found->get<bool>();
}

const std::string& text_at(const nlohmann::json& step, const char* key, const fs::path& file) {
  const auto found = step.find(key);
  if (found == step.end() || !found->is_string())
    throw_damaged(file, fmt::format("its {} has no {}", type_of(step), key));
  return found->get_ref<const std::string&>();
}

// The steps of a Sequence, or the step itself.
std::vector<nlohmann::json> steps_of(const nlohmann::json& step, const char* key,
                                     const fs::path& file) {
  if (step.is_null()) return {};
  if (type_of(step) != "Sequence") return {step};
  const auto list = step.find(key);
  if (list == step.end() || !list->is_array() || list->size() > most_steps)
    throw_damaged(file, fmt::format("has a Sequence without {}", key));
  return *list;
}

std::string decode_base64(const std::string& text, const fs::path& file) {
  if (text.size() % 4 != 0) throw_damaged(file, "its character map is not base64");
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0) throw_damaged(file, "its character map is not base64");
  const size_t padding = text.size() - std::min(text.find('='), text.size());
  if (padding > 2) throw_damaged(file, "its character map is not base64");
  bytes.resize(static_cast<size_t>(size) - padding);
  return bytes;
}

CharacterMap character_map_of(std::string_view bytes, const fs::path& file) {
  try {
    return CharacterMap(bytes);
  } catch (const std::invalid_argument& error) {
    throw_damaged(file, fmt::format("its character map is damaged: {}", error.what()));
  }
}

class Replacement {
 public:
  Replacement(const std::string& pattern, std::string with)
      : pattern_(pattern), with_(std::move(with)) {}

  std::string operator()(std::string_view text) const {
    std::string out;
    const char* done = text.data();
    for (const auto match : pattern_.find_all(text)) {
      out.append(done, match.data());
      out += with_;
      done = match.data() + match.size();
    }
    return out.append(done, text.data() + text.size());
  }

 private:
  Regex pattern_;
  std::string with_;
};

Replacement replacement_of(const nlohmann::json& step, const fs::path& file) {
  const auto pattern = step.find("pattern");
  constexpr size_t longest_pattern = 4096;
  if (pattern == step.end() || !pattern->is_object())
    throw_damaged(file, "its Replace has no pattern");
  const bool is_regex = pattern->contains("Regex");
  const auto& source = text_at(*pattern, is_regex ? "Regex" : "String", file);
  if (source.empty() || source.size() > longest_pattern)
    throw_damaged(file, "its Replace has an empty or huge pattern");
  try {
    return {is_regex ? from_oniguruma(source) : as_literal_pattern(source),
            text_at(step, "content", file)};
  } catch (const std::invalid_argument& error) {
    refuse(file, fmt::format("the pattern of its {} can't be used: {}", shown(step), error.what()));
  }
}

void add_normaliser(const nlohmann::json& step, UnigramFiles& files) {
  const std::string type = type_of(step);
  if (type == "Precompiled") {
    files.normalisers.emplace_back(character_map_of(
        decode_base64(text_at(step, "precompiled_charsmap", files.file), files.file), files.file));
  } else if (type == "Replace") {
    files.normalisers.emplace_back(replacement_of(step, files.file));
  } else if (type == "NFC") {
    files.normalisers.emplace_back(
        [](std::string_view text) { return encode_utf8(nfc(decode_utf8(text))); });
  } else {
    refuse(files.file, fmt::format("its normalizer {} is not supported", shown(step)));
  }
}

void take_metaspace(const nlohmann::json& step, UnigramFiles& files) {
  WordSplitting& splitting = files.splitting;
  splitting.marks = true;
  splitting.mark = text_at(step, "replacement", files.file);
  if (decode_utf8(splitting.mark).size() != 1)
    throw_damaged(files.file, "the replacement of its Metaspace is not one character");
  const auto scheme = step.find("prepend_scheme");
  if (scheme == step.end()) {
    splitting.mark_first = flag(step, "add_prefix_space", true, files.file);
  } else if (*scheme == "always" || *scheme == "never") {
    splitting.mark_first = *scheme == "always";
  } else {
    refuse(files.file, fmt::format("its pre_tokenizer {} is not supported", shown(step)));
  }
  splitting.at_marks = flag(step, "split", true, files.file);
}

void take_pre_tokenizer(const nlohmann::json& json, UnigramFiles& files) {
  for (const auto& step : steps_of(json, "pretokenizers", files.file)) {
    const std::string type = type_of(step);
    if (type == "WhitespaceSplit" && !files.splitting.marks) {
      files.splitting.at_white_space = true;
    } else if (type == "Metaspace" && !files.splitting.marks) {
      take_metaspace(step, files);
    } else {
      refuse(files.file, fmt::format("its pre_tokenizer {} is not supported", shown(step)));
    }
  }
}

std::vector<ScoredPiece> pieces_of(const nlohmann::json& model, const fs::path& file) {
  const auto list = model.find("vocab");
  if (list == model.end() || !list->is_array()) throw_damaged(file, "its model has no vocab");
  std::vector<ScoredPiece> pieces;
  pieces.reserve(list->size());
  for (const auto& entry : *list) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      throw_damaged(file,
                    fmt::format("model.vocab[{}] is not a piece and its score", pieces.size()));
    pieces.push_back({entry[0].get<std::string>(), entry[1].get<double>()});
  }
  return pieces;
}

void read_tokenizer_json(UnigramFiles& files) {
  const auto json = read_object(files.file);
  const auto model = json.find("model");
  if (model == json.end() || type_of(*model) != "Unigram")
    refuse(files.file, "its model is not of the Unigram kind");
  files.pieces = pieces_of(*model, files.file);
  const auto normaliser = json.value("normalizer", nlohmann::json());
  if (files.is_t5) {  // only the first character map counts, if there is one
    for (const auto& step : steps_of(normaliser, "normalizers", files.file)) {
      if (type_of(step) != "Precompiled") continue;
      add_normaliser(step, files);
      return;
    }
    return;
  }
  for (const auto& step : steps_of(normaliser, "normalizers", files.file))
    add_normaliser(step, files);
  take_pre_tokenizer(json.value("pre_tokenizer", nlohmann::json()), files);
  const auto unknown = model->find("unk_id");
  if (unknown == model->end() || !unknown->is_number_unsigned())
    throw_damaged(files.file, "its model has no unk_id");
  files.unknown = unknown->get<int64_t>();
  if (flag(*model, "byte_fallback", false, files.file)) files.unknown_as = UnknownAs::bytes;
}

// How many <extra_id_N> a T5Tokenizer has.
size_t extra_ids_of(const fs::path& folder) {
  const fs::path file = folder / "tokenizer_config.json";
  const auto config = read_object(file);
  const auto found = config.find("extra_ids");
  constexpr size_t usual = 100, most = 10000;
  if (found == config.end() || found->is_null()) return usual;
  if (!found->is_number_unsigned() || found->get<uint64_t>() > most)
    throw_damaged(file, fmt::format("extra_ids is not a number from 0 to {}", most));
  return found->get<size_t>();
}

void add_registered(size_t id, bool special, UnigramFiles& files) {
  AddedToken token;
  token.content = files.pieces[id].text;
  token.id = static_cast<int64_t>(id);
  token.special = special;
  files.registered.push_back(std::move(token));
}

// A T5Tokenizer takes them for registered, listed or not.
void register_extra_ids(size_t count, UnigramFiles& files) {
  std::unordered_set<std::string> extra;
  for (size_t i = 0; i < count; ++i) extra.insert(fmt::format("<extra_id_{}>", i));
  for (size_t id = 0; id < files.pieces.size(); ++id)
    if (extra.contains(files.pieces[id].text)) add_registered(id, true, files);
}

void read_spiece_model(size_t extra_ids, UnigramFiles& files) {
  auto model = read_sentencepiece_model(files.file);
  files.pieces = std::move(model.pieces);
  for (const size_t id : model.control_ids) add_registered(id, true, files);
  for (const size_t id : model.user_defined_ids) add_registered(id, false, files);
  // They come after the pieces, backwards: <extra_id_0> is the last of all.
  for (size_t i = extra_ids; i-- > 0;) files.pieces.push_back({fmt::format("<extra_id_{}>", i), 0});
  if (!model.character_map.empty())
    files.normalisers.emplace_back(character_map_of(model.character_map, files.file));
}

void check_pieces(const UnigramFiles& files) {
  std::unordered_set<std::string_view> seen;
  for (size_t id = 0; id < files.pieces.size(); ++id) {
    const auto& [text, score] = files.pieces[id];
    const auto wrong = [&](std::string_view what) {
      throw_damaged(files.file, fmt::format("piece {} {}", id, what));
    };
    if (text.empty()) wrong("is empty");
    if (text.size() > UnigramModel::longest_piece) wrong("is too long");
    if (!is_utf8(text)) wrong("is not UTF-8");
    if (!std::isfinite(score)) wrong("has a score that is not finite");
    if (!seen.insert(text).second) wrong(fmt::format("is the second '{}'", text));
  }
  if (files.unknown < 0 || static_cast<size_t>(files.unknown) >= files.pieces.size())
    throw_damaged(files.file, fmt::format("the id of unknown text is {}, outside 0 to {}",
                                          files.unknown, files.pieces.size()));
}

}  // namespace

bool is_unigram_folder(const fs::path& folder) {
  const fs::path json_file = folder / "tokenizer.json";
  if (!is_there(json_file)) return is_there(folder / "spiece.model");
  const auto json = read_object(json_file);
  const auto model = json.find("model");
  return model != json.end() && type_of(*model) == "Unigram";
}

UnigramFiles read_unigram_files(const fs::path& folder) {
  UnigramFiles files;
  const std::string named = tokenizer_class(folder);
  const bool has_json = is_there(folder / "tokenizer.json");
  files.is_t5 = named == t5_class || (named.empty() && !has_json);
  static constexpr std::string_view by_file[] = {"", "PreTrainedTokenizer", "TokenizersBackend"};
  if (!files.is_t5 &&
      (std::find(std::begin(by_file), std::end(by_file), named) == std::end(by_file) || !has_json))
    refuse(folder, fmt::format("its tokenizer is a {}, not a T5Tokenizer", named));
  if (files.is_t5) {
    files.unknown = t5_unknown;
    files.splitting.at_white_space = files.splitting.marks = true;
  }
  files.file = folder / (has_json ? "tokenizer.json" : "spiece.model");
  if (!has_json && !is_there(files.file))
    throw LoadError(folder.string(), "has neither tokenizer.json nor spiece.model", mend);
  if (has_json)
    read_tokenizer_json(files);
  else
    read_spiece_model(extra_ids_of(folder), files);
  check_pieces(files);
  if (files.is_t5) register_extra_ids(extra_ids_of(folder), files);
  return files;
}

}  // namespace backlot
