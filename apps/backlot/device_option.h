// --device, as every command that computes takes it.
#pragma once

#include <string>

namespace backlot {

// Throws UsageError for a word that names no kind of device.
void check_device_name(const std::string& wish, const std::string& option = "--device");

// Asked of the driver, so that a device that is not there is found before anything is written.
// Throws EnvironmentError.
void check_device(const std::string& wish, const std::string& option = "--device");

}  // namespace backlot
