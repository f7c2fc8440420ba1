// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/platform_detect.h"

#include "base/file.h"

namespace hawser::bootstrap {
namespace {

// Every virtual machine of Azure carries this tag; Hyper-V elsewhere has the same vendor, but not the tag.
constexpr std::string_view kAzureTag = "7783-7084-3265-9085-8269-3286-77";

std::string field(const std::string& root, const char* name) {
  constexpr std::size_t kLimit = 4096;
  auto text = file::read_bounded(root + "/sys/class/dmi/id/" + name, kLimit);
  if (!text) return {};
  while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
  return *text;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

std::string_view platform_name(Platform platform) {
  switch (platform) {
    case Platform::kGce:
      return "gce";
    case Platform::kAws:
      return "aws";
    case Platform::kAzure:
      return "azure";
    case Platform::kOpenStack:
      return "openstack";
    case Platform::kBareMetal:
      break;
  }
  return "baremetal";
}

Firmware observe_firmware(const std::string& root) {
  Firmware out;
  out.sys_vendor = field(root, "sys_vendor");
  out.product_name = field(root, "product_name");
  out.product_version = field(root, "product_version");
  out.bios_vendor = field(root, "bios_vendor");
  out.bios_version = field(root, "bios_version");
  out.chassis_asset_tag = field(root, "chassis_asset_tag");
  return out;
}

Platform platform_of(const Firmware& firmware) {
  if (firmware.product_name == "Google Compute Engine") return Platform::kGce;
  // Nitro says so in the vendor; Xen only in the version: "4.11.amazon".
  if (firmware.sys_vendor == "Amazon EC2" || firmware.bios_vendor == "Amazon EC2" ||
      has(firmware.bios_version, ".amazon") || has(firmware.product_version, ".amazon"))
    return Platform::kAws;
  if (firmware.sys_vendor == "Microsoft Corporation" && firmware.chassis_asset_tag == kAzureTag)
    return Platform::kAzure;
  if (firmware.product_name == "OpenStack Nova" || firmware.product_name == "OpenStack Compute" ||
      has(firmware.sys_vendor, "OpenStack"))
    return Platform::kOpenStack;
  return Platform::kBareMetal;
}

}  // namespace hawser::bootstrap
