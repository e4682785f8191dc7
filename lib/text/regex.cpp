#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <new>
#include <stdexcept>

namespace backlot {
namespace {

std::string message_of(int error) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

Regex::Regex(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF, &error, &at, nullptr);
  if (!code) throw std::invalid_argument(fmt::format("at {}: {}", at, message_of(error)));
  code_ = std::shared_ptr<const void>(
      code, [](const void* p) { pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(p))); });
  // Where the machine forbids writable code pages this fails, and matching is interpreted.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
}

// Calls visit(begin, end) for each match until it returns false.
template <typename Visit>
void Regex::each_match(std::string_view text, Visit visit) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  if (!match) throw std::bad_alloc();
  size_t from = 0;
  while (from < text.size()) {
    // The text is known to be well-formed; checking it at each match would take quadratic time.
    const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                  from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match.get(), nullptr);
    if (found == PCRE2_ERROR_NOMATCH) return;
    if (found < 0) throw std::runtime_error("regular expression: " + message_of(found));
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
    if (!visit(bounds[0], bounds[1])) return;
    from = bounds[1];
  }
}

std::vector<std::string_view> Regex::find_all(std::string_view text) const {
  std::vector<std::string_view> found;
  each_match(text, [&](size_t begin, size_t end) {
    found.push_back(text.substr(begin, end - begin));
    return true;
  });
  return found;
}

std::vector<std::string_view> Regex::split(std::string_view text) const {
  std::vector<std::string_view> parts;
  size_t done = 0;
  each_match(text, [&](size_t begin, size_t end) {
    if (done < begin) parts.push_back(text.substr(done, begin - done));
    parts.push_back(text.substr(begin, end - begin));
    done = end;
    return true;
  });
  if (done < text.size()) parts.push_back(text.substr(done));
  return parts;
}

bool Regex::found_in(std::string_view text) const {
  bool found = false;
  each_match(text, [&](size_t, size_t) {
    found = true;
    return false;
  });
  return found;
}

}  // namespace backlot
