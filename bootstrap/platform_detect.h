// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

// What: which cloud this host is in, by what its firmware says of itself (DMI): no packet is sent, so that it costs
// nothing where there is no cloud. The locality isn't known from it: that is configured.
// Threading: six small files are read. Failure: none; unreadable files mean bare metal.
namespace hawser::bootstrap {

enum class Platform { kBareMetal, kGce, kAws, kAzure, kOpenStack };

std::string_view platform_name(Platform platform);

// /sys/class/dmi/id, as far as it is open to all.
struct Firmware {
  std::string sys_vendor;
  std::string product_name;
  std::string product_version;
  std::string bios_vendor;
  std::string bios_version;
  std::string chassis_asset_tag;
};

// `root` stands before /sys, for tests.
Firmware observe_firmware(const std::string& root = {});
Platform platform_of(const Firmware& firmware);

}  // namespace hawser::bootstrap
