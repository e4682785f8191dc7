// Texts for enhancement from a loaded language model.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "enhance/text_maker.h"
#include "language/session.h"

namespace backlot {

class SessionTextMaker final : public TextMaker {
 public:
  // Keeps a reference.
  explicit SessionTextMaker(LanguageSession& session) : session_(session) {}

  // Hears texts as they grow, of any request; for one at a time.
  void listen(std::function<void(std::string_view)> heard) { heard_ = std::move(heard); }

  // Whether texts go on behind an end token, to their limit.
  void ignore_eos(bool ignored) { ignore_eos_ = ignored; }

  void make(std::span<const TextRequest> requests,
            const std::function<void(size_t request, MadeText)>& made) override;

 private:
  LanguageSession& session_;
  bool ignore_eos_ = false;
  std::function<void(std::string_view)> heard_;
};

// The same, with a session of its own.
class OwnedTextMaker final : public TextMaker {
 public:
  OwnedTextMaker(const LanguageSessionOptions& options, std::function<Engine&()> engine)
      : session_(options, std::move(engine)), maker_(session_) {}

  void make(std::span<const TextRequest> requests,
            const std::function<void(size_t request, MadeText)>& made) override {
    maker_.make(requests, made);
  }

 private:
  LanguageSession session_;
  SessionTextMaker maker_;
};

}  // namespace backlot
