#include "text/sentencepiece_model.h"

#include <fmt/format.h>

#include <bit>
#include <cstdint>

#include "base/error.h"
#include "text/tokenizer_files.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

// ModelProto, its SentencePiece, TrainerSpec and NormalizerSpec: the numbers of their fields.
namespace model_field {
constexpr uint64_t pieces = 1, trainer_spec = 2, normalizer_spec = 3;
}
namespace piece_field {
constexpr uint64_t text = 1, score = 2, type = 3;
}
namespace trainer_field {
constexpr uint64_t model_type = 3;
}
namespace normalizer_field {
constexpr uint64_t precompiled_charsmap = 2;
}
enum PieceType : uint64_t { control = 3, user_defined = 4 };
constexpr uint64_t unigram = 1;  // of TrainerSpec.ModelType, and its default

enum class WireType : uint64_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// One field of a message: `number` holds the value of varint and fixed ones, `bytes` of the others.
struct Field {
  uint64_t id = 0;
  WireType type = WireType::varint;
  uint64_t number = 0;
  std::string_view bytes;
};

// Walks over the fields of one message.
class Message {
 public:
  Message(std::string_view rest, const fs::path& file) : rest_(rest), file_(file) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    field = {key >> 3, static_cast<WireType>(key & 7), 0, {}};
    if (field.id == 0) damaged();
    switch (field.type) {
      case WireType::varint:
        field.number = varint();
        break;
      case WireType::fixed64:
        field.number = fixed(8);
        break;
      case WireType::fixed32:
        field.number = fixed(4);
        break;
      case WireType::bytes:
        field.bytes = take(varint());
        break;
      default:
        damaged();
    }
    return true;
  }

 private:
  [[noreturn]] void damaged() const { throw_damaged(file_, "not a SentencePiece model"); }

  std::string_view take(uint64_t size) {
    if (size > rest_.size()) damaged();
    const auto taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  uint64_t varint() {
    uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      result |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return result;
    }
    damaged();
  }

  uint64_t fixed(size_t size) {
    uint64_t result = 0;
    const auto bytes = take(size);
    for (size_t i = size; i-- > 0;) result = result << 8 | static_cast<unsigned char>(bytes[i]);
    return result;
  }

  std::string_view rest_;
  const fs::path& file_;
};

void read_piece(std::string_view bytes, const fs::path& file, SentencePieceModel& model) {
  ScoredPiece piece;
  uint64_t type = 1;
  Message message(bytes, file);
  for (Field field; message.next(field);) {
    if (field.id == piece_field::text && field.type == WireType::bytes)
      piece.text = field.bytes;
    else if (field.id == piece_field::score && field.type == WireType::fixed32)
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.number));
    else if (field.id == piece_field::type && field.type == WireType::varint)
      type = field.number;
  }
  if (type == control) model.control_ids.push_back(model.pieces.size());
  if (type == user_defined) model.user_defined_ids.push_back(model.pieces.size());
  model.pieces.push_back(std::move(piece));
}

// The value of one field of a message within the model, the last where there are several.
Field field_of(std::string_view bytes, uint64_t id, WireType type, const fs::path& file) {
  Field result;
  Message message(bytes, file);
  for (Field field; message.next(field);)
    if (field.id == id && field.type == type) result = field;
  return result;
}

}  // namespace

SentencePieceModel read_sentencepiece_model(const fs::path& file) {
  const std::string bytes = read_tokenizer_file(file);
  SentencePieceModel model;
  uint64_t type = unigram;
  Message message(bytes, file);
  for (Field field; message.next(field);) {
    if (field.type != WireType::bytes) continue;
    if (field.id == model_field::pieces) {
      read_piece(field.bytes, file, model);
    } else if (field.id == model_field::trainer_spec) {
      const auto found = field_of(field.bytes, trainer_field::model_type, WireType::varint, file);
      if (found.id != 0) type = found.number;
    } else if (field.id == model_field::normalizer_spec) {
      model.character_map =
          field_of(field.bytes, normalizer_field::precompiled_charsmap, WireType::bytes, file)
              .bytes;
    }
  }
  if (type != unigram)
    throw LoadError(file.string(), "its model is not of SentencePiece's Unigram kind",
                    "give the tokenizer folder of a T5 or UMT5 text encoder");
  if (model.pieces.empty()) throw_damaged(file, "has no pieces");
  return model;
}

}  // namespace backlot
