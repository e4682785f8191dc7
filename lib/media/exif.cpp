#include "media/exif.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "media/unicode.h"

namespace backlot {
namespace {

using namespace std::string_view_literals;

enum Tag : uint16_t {
  image_description = 0x010E,
  orientation_tag = 0x0112,
  software_tag = 0x0131,
  exif_ifd = 0x8769,
  exif_version = 0x9000,
  user_comment_tag = 0x9286,
  color_space = 0xA001,
};
enum Type : uint16_t { ascii = 2, short_type = 3, long_type = 4, undefined = 7 };

constexpr auto unicode_code = "UNICODE\0"sv;

struct Field {
  uint16_t tag, type;
  std::string value;  // big-endian
};

std::string big_endian(uint32_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
  return out;
}

size_t ifd_size(size_t fields) { return 2 + 12 * fields + 4; }

// One directory followed by the values too long for it. `fields` in ascending order of tags, as
// TIFF demands; `offset` is where the directory stands in the block.
std::string encode_ifd(const std::vector<Field>& fields, size_t offset) {
  std::string out = big_endian(static_cast<uint32_t>(fields.size()), 2), values;
  for (const auto& field : fields) {
    const size_t unit = field.type == short_type ? 2 : field.type == long_type ? 4 : 1;
    out += big_endian(field.tag, 2) + big_endian(field.type, 2) +
           big_endian(static_cast<uint32_t>(field.value.size() / unit), 4);
    if (field.value.size() <= 4) {
      out += field.value + std::string(4 - field.value.size(), '\0');
    } else {
      out += big_endian(static_cast<uint32_t>(offset + ifd_size(fields.size()) + values.size()), 4);
      values += field.value;
      if (values.size() % 2) values += '\0';
    }
  }
  return out + big_endian(0, 4) + values;
}

Field text_field(uint16_t tag, std::string text) {
  std::replace(text.begin(), text.end(), '\0', ' ');
  return {tag, ascii, text + '\0'};
}

// A TIFF block read within its bounds.
class TiffReader {
 public:
  explicit TiffReader(std::string_view block) : block_(block) {
    if (block_.starts_with("II\x2A\0"sv)) order_ = ByteOrder::little;
    if (block_.starts_with("MM\0\x2A"sv)) order_ = ByteOrder::big;
  }

  bool valid() const { return order_.has_value(); }
  ByteOrder order() const { return *order_; }
  uint32_t first_ifd() const { return number(4, 4).value_or(0); }

  // The bytes of `tag` in the directory at `offset`, in the block's byte order.
  std::optional<std::string_view> find(uint32_t offset, uint16_t tag) const {
    const uint32_t count = number(offset, 2).value_or(0);
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t entry = uint64_t{offset} + 2 + uint64_t{12} * i;
      if (number(entry, 2) != tag) continue;
      const uint64_t size = uint64_t{number(entry + 4, 4).value_or(0)} * unit(entry);
      const uint64_t at = size <= 4 ? entry + 8 : number(entry + 8, 4).value_or(0);
      if (at > block_.size() || block_.size() - at < size) return std::nullopt;
      return block_.substr(at, size);
    }
    return std::nullopt;
  }

  std::optional<uint32_t> find_number(uint32_t offset, uint16_t tag) const {
    const auto value = find(offset, tag);
    if (!value || (value->size() != 2 && value->size() != 4)) return std::nullopt;
    return number(value->data() - block_.data(), static_cast<int>(value->size()));
  }

 private:
  std::optional<uint32_t> number(uint64_t at, int bytes) const {
    if (at > block_.size() || block_.size() - at < static_cast<uint64_t>(bytes))
      return std::nullopt;
    uint32_t out = 0;
    for (int i = 0; i < bytes; ++i) {
      const int from = order_ == ByteOrder::big ? i : bytes - 1 - i;
      out = out << 8 | static_cast<uint8_t>(block_[at + from]);
    }
    return out;
  }

  uint64_t unit(uint64_t entry) const {
    switch (number(entry + 2, 2).value_or(0)) {
      case short_type:
        return 2;
      case long_type:
        return 4;
      default:
        return 1;
    }
  }

  std::string_view block_;
  std::optional<ByteOrder> order_;
};

// Writers disagree on the byte order of Unicode comments in little-endian files, so the text
// decides: in the settings' ASCII characters the high byte is zero.
ByteOrder utf16_order(std::string_view utf16, ByteOrder fallback) {
  size_t even = 0, odd = 0;
  for (size_t i = 0; i + 1 < utf16.size(); i += 2) {
    even += utf16[i] == '\0';
    odd += utf16[i + 1] == '\0';
  }
  return even > odd ? ByteOrder::big : odd > even ? ByteOrder::little : fallback;
}

std::string until_nul(std::string_view text) {
  return std::string(text.substr(0, text.find('\0')));
}

std::string decode_user_comment(std::string_view value, ByteOrder order) {
  if (value.starts_with(unicode_code)) {
    value.remove_prefix(unicode_code.size());
    if (value.starts_with("\xFE\xFF"sv)) return decode_utf16(value.substr(2), ByteOrder::big);
    if (value.starts_with("\xFF\xFE"sv)) return decode_utf16(value.substr(2), ByteOrder::little);
    return decode_utf16(value, utf16_order(value, order));
  }
  if (value.starts_with("ASCII\0\0\0"sv) || value.starts_with("\0\0\0\0\0\0\0\0"sv))
    value.remove_prefix(8);
  return encode_utf8(decode_utf8(until_nul(value)));
}

}  // namespace

std::string encode_exif(const ExifFields& fields) {
  std::vector<Field> main, exif;
  if (!fields.description.empty())
    main.push_back(text_field(image_description, fields.description));
  if (!fields.software.empty()) main.push_back(text_field(software_tag, fields.software));
  main.push_back({exif_ifd, long_type, big_endian(0, 4)});
  exif.push_back({exif_version, undefined, "0232"});
  if (!fields.user_comment.empty())
    exif.push_back({user_comment_tag, undefined,
                    std::string(unicode_code) + encode_utf16(fields.user_comment, ByteOrder::big)});
  exif.push_back({color_space, short_type, big_endian(1, 2)});  // sRGB

  const std::string header = std::string("MM\0\x2A"sv) + big_endian(8, 4);
  const size_t second = header.size() + encode_ifd(main, header.size()).size();
  main.back().value = big_endian(static_cast<uint32_t>(second), 4);
  return header + encode_ifd(main, header.size()) + encode_ifd(exif, second);
}

ExifFields decode_exif(std::string_view block) {
  if (block.starts_with("Exif\0\0"sv)) block.remove_prefix(6);
  ExifFields out;
  const TiffReader tiff(block);
  if (!tiff.valid()) return out;
  const uint32_t main = tiff.first_ifd();
  const uint32_t orientation = tiff.find_number(main, orientation_tag).value_or(1);
  if (orientation >= 1 && orientation <= 8) out.orientation = static_cast<int>(orientation);
  if (const auto exif = tiff.find_number(main, exif_ifd))
    if (const auto comment = tiff.find(*exif, user_comment_tag))
      out.user_comment = decode_user_comment(*comment, tiff.order());
  return out;
}

}  // namespace backlot
