#include "enhance/chat.h"

#include <string>

namespace backlot {
namespace {

Json message(std::string_view role, std::string content) {
  return {{"role", role}, {"content", std::move(content)}};
}

std::string request_of(const Style& style, std::string_view prompt) {
  constexpr std::string_view place = "{prompt}";
  std::string text = style.request;
  return text.replace(text.find(place), place.size(), prompt);
}

}  // namespace

Json chat_for(const Style& style, std::string_view prompt) {
  Json messages = Json::array();
  if (!style.system.empty()) messages.push_back(message("system", style.system));
  for (const auto& example : style.examples) {
    messages.push_back(message("user", request_of(style, example.user)));
    messages.push_back(message("assistant", example.assistant));
  }
  messages.push_back(message("user", request_of(style, prompt)));
  return messages;
}

}  // namespace backlot
