// XMP packets (ISO 16684-1) with the IPTC mark for pictures made by a trained model.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace backlot {

// The tool's name and the IPTC digital source type, and backlot's JSON where `record` is not empty.
// `note` names the extended packet that belongs to this one, if there is any.
std::string xmp_packet(std::string_view creator, std::string_view record,
                       std::string_view note = "");

// A packet that holds nothing but the record, for JPEG's extended XMP.
std::string xmp_record_packet(std::string_view record);

// The JSON that a packet of backlot's carries, also after another tool wrote the packet anew.
std::optional<std::string> xmp_record(std::string_view packet);

}  // namespace backlot
