#include "media/xmp.h"

#include <fmt/format.h>

#include "base/text.h"

namespace backlot {
namespace {

constexpr std::string_view digital_source_type =
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

// XML 1.0 has no U+FFFE and U+FFFF; JSON can escape them, since they only occur in its strings.
// JSON has no raw control characters, so nothing else needs care.
std::string escape_xml(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == "\xEF\xBF\xBE" || text.substr(i, 3) == "\xEF\xBF\xBF") {
      out += text[i + 2] == '\xBE' ? "\\ufffe" : "\\uffff";
      i += 2;
    } else if (text[i] == '&') {
      out += "&amp;";
    } else if (text[i] == '<') {
      out += "&lt;";
    } else if (text[i] == '>') {
      out += "&gt;";
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string unescape_xml(std::string_view text) {
  constexpr std::pair<std::string_view, char> entities[] = {
      {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
  std::string out;
  while (!text.empty()) {
    const auto known = [&]() -> const std::pair<std::string_view, char>* {
      for (const auto& entity : entities)
        if (text.starts_with(entity.first)) return &entity;
      return nullptr;
    }();
    out += known ? known->second : text.front();
    text.remove_prefix(known ? known->first.size() : 1);
  }
  return out;
}

std::string wrap(std::string_view namespaces, std::string_view properties) {
  return fmt::format(
      "<?xpacket begin=\"\xEF\xBB\xBF\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
      "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n"
      " <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
      "  <rdf:Description rdf:about=\"\"{}>\n{}"
      "  </rdf:Description>\n"
      " </rdf:RDF>\n"
      "</x:xmpmeta>\n"
      "<?xpacket end=\"r\"?>",
      namespaces, properties);
}

std::string record_property(std::string_view record) {
  return fmt::format("   <backlot:record>{}</backlot:record>\n", escape_xml(record));
}

constexpr std::string_view record_namespace = "\n    xmlns:backlot=\"urn:backlot:picture:1/\"";

}  // namespace

std::string xmp_packet(std::string_view creator, std::string_view record, std::string_view note) {
  std::string namespaces =
      "\n    xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\""
      "\n    xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"";
  std::string properties = fmt::format(
      "   <xmp:CreatorTool>{}</xmp:CreatorTool>\n"
      "   <Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType>\n",
      escape_xml(printable(creator)), digital_source_type);
  if (!record.empty()) {
    namespaces += record_namespace;
    properties += record_property(record);
  }
  if (!note.empty()) {
    namespaces += "\n    xmlns:xmpNote=\"http://ns.adobe.com/xmp/note/\"";
    properties += fmt::format("   <xmpNote:HasExtendedXMP>{}</xmpNote:HasExtendedXMP>\n", note);
  }
  return wrap(namespaces, properties);
}

std::string xmp_record_packet(std::string_view record) {
  return wrap(record_namespace, record_property(record));
}

std::optional<std::string> xmp_record(std::string_view packet) {
  constexpr std::string_view element = "<backlot:record>";
  if (const size_t at = packet.find(element); at != packet.npos) {
    const auto value = packet.substr(at + element.size());
    return unescape_xml(value.substr(0, value.find('<')));
  }
  constexpr std::string_view attribute = "backlot:record=";
  if (const size_t at = packet.find(attribute); at != packet.npos) {
    auto value = packet.substr(at + attribute.size());
    if (value.empty() || (value.front() != '"' && value.front() != '\'')) return std::nullopt;
    const char quote = value.front();
    value.remove_prefix(1);
    return unescape_xml(value.substr(0, value.find(quote)));
  }
  return std::nullopt;
}

}  // namespace backlot
