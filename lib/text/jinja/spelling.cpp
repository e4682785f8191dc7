// Values as text: Python's str(), repr() and json.dumps().
#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja/value.h"

namespace backlot::jinja {
namespace {

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string escaped(char32_t c) {
  const auto code = static_cast<uint32_t>(c);
  if (c == '\n') return "\\n";
  if (c == '\r') return "\\r";
  if (c == '\t') return "\\t";
  if (code < 0x100) return fmt::format("\\x{:02x}", code);
  return code < 0x10000 ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
}

std::string quoted(const std::string& text) {
  const bool has_single = text.find('\'') != std::string::npos;
  const char quote = has_single && text.find('"') == std::string::npos ? '"' : '\'';
  std::string result(1, quote);
  for (const char32_t c : decode_utf8(text)) {
    if (c == static_cast<char32_t>(quote) || c == '\\')
      result += {'\\', static_cast<char>(c)};
    else
      result += is_printable(c) ? encode_utf8({&c, 1}) : escaped(c);
  }
  return result + quote;
}

void append_repr(const Value& value, std::string& to, Budget& budget) {
  const size_t before = to.size();
  budget.spend(16);
  if (value.is_text()) {
    to += quoted(value.text());
  } else if (value.is_sequence()) {
    to += value.is_tuple() ? '(' : '[';
    const List& items = value.items();
    for (size_t i = 0; i < items.size(); ++i) {
      if (i) to += ", ";
      append_repr(items[i], to, budget);
    }
    if (value.is_tuple() && items.size() == 1) to += ',';
    to += value.is_tuple() ? ')' : ']';
  } else if (value.is_dict()) {
    to += '{';
    for (bool first = true; const auto& [key, item] : value.entries()) {
      to += (std::exchange(first, false) ? "" : ", ") + quoted(key) + ": ";
      append_repr(item, to, budget);
    }
    to += '}';
  } else if (value.is_undefined()) {
    to += "Undefined";
  } else {
    to += to_text(value, budget);
  }
  budget.spend(to.size() - before);
}

std::string json_text(const std::string& text, bool ensure_ascii) {
  std::string result = "\"";
  for (const char32_t c : decode_utf8(text)) {
    const auto code = static_cast<uint32_t>(c);
    static constexpr std::pair<char32_t, const char*> named[] = {
        {'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\r', "\\r"},
        {'\t', "\\t"}, {'\f', "\\f"},  {'\b', "\\b"}};
    const auto* name = std::find_if(std::begin(named), std::end(named),
                                    [c](const auto& pair) { return pair.first == c; });
    if (name != std::end(named))
      result += name->second;
    else if (code < 0x20 || (ensure_ascii && code >= 0x7f && code < 0x10000 && code != 0x7f))
      result += fmt::format("\\u{:04x}", code);
    else if (ensure_ascii && code >= 0x10000)
      result += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((code - 0x10000) >> 10),
                            0xdc00 + ((code - 0x10000) & 0x3ff));
    else
      result += encode_utf8({&c, 1});
  }
  return result + '"';
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  std::string write(const Value& value) {
    append(value, 0);
    return std::move(to_);
  }

 private:
  void append(const Value& value, int level) {
    const size_t before = to_.size();
    budget_.spend(16);
    if (value.is_none()) {
      to_ += "null";
    } else if (value.is_boolean()) {
      to_ += value.truth() ? "true" : "false";
    } else if (value.is_real()) {
      to_ += number(value.real());
    } else if (value.is_integer()) {
      to_ += std::to_string(value.integer());
    } else if (value.is_text()) {
      to_ += json_text(value.text(), style_.ensure_ascii);
    } else if (value.is_sequence()) {
      surround('[', ']', value.items().size(), level,
               [&](size_t i) { append(value.items()[i], level + 1); });
    } else if (value.is_dict()) {
      append_dict(value.entries(), level);
    } else {
      throw Error(fmt::format("a {} can't be written as JSON", value.type()));
    }
    budget_.spend(to_.size() - before);
  }

  void append_dict(Entries entries, int level) {
    if (style_.sort_keys)
      std::sort(entries.begin(), entries.end(),
                [](const auto& a, const auto& b) { return a.first < b.first; });
    surround('{', '}', entries.size(), level, [&](size_t i) {
      to_ += json_text(entries[i].first, style_.ensure_ascii) + style_.after_key;
      append(entries[i].second, level + 1);
    });
  }

  template <typename Item>
  void surround(char open, char close, size_t count, int level, Item item) {
    to_ += open;
    for (size_t i = 0; i < count; ++i) {
      if (i) to_ += style_.between_items;
      new_line(level + 1);
      item(i);
    }
    if (count) new_line(level);
    to_ += close;
  }

  void new_line(int level) {
    if (style_.indent < 0) return;
    const auto width = static_cast<size_t>(style_.indent) * static_cast<size_t>(level);
    budget_.spend(width);
    to_ += '\n' + std::string(width, ' ');
  }

  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return real_to_text(value);
  }

  const JsonStyle& style_;
  Budget& budget_;
  std::string to_;
};

}  // namespace

std::string real_to_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, static_cast<size_t>(end - buffer));
  const size_t e = shortest.find('e');
  const int exponent = std::stoi(std::string(shortest.substr(e + 1)));
  // Python writes an exponent outside this range only, and always shows a fraction without one.
  if (exponent < -4 || exponent >= 16)
    return fmt::format("{}e{}{:02}", shortest.substr(0, e), exponent < 0 ? '-' : '+',
                       std::abs(exponent));
  const auto fixed =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
  std::string text(buffer, fixed);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string to_text(const Value& value, Budget& budget) {
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (value.is_boolean()) return value.truth() ? "True" : "False";
  if (value.is_integer()) return std::to_string(value.integer());
  if (value.is_real()) return real_to_text(value.real());
  if (value.is_text()) {
    budget.spend(value.text().size());
    return value.text();
  }
  if (value.is_object()) throw Error(fmt::format("a {} can't be written", value.type()));
  return to_repr(value, budget);
}

std::string to_repr(const Value& value, Budget& budget) {
  std::string text;
  append_repr(value, text, budget);
  return text;
}

std::string to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  return JsonWriter(style, budget).write(value);
}

}  // namespace backlot::jinja
