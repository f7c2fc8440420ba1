// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/platform_detect.h"

#include <gtest/gtest.h>

#include "golden.h"

namespace hawser::bootstrap {
namespace {

Platform with(std::string Firmware::*field, const std::string& value) {
  Firmware firmware;
  firmware.*field = value;
  return platform_of(firmware);
}

TEST(Platform, IsReadFromTheFirmware) {
  EXPECT_EQ(with(&Firmware::product_name, "Google Compute Engine"), Platform::kGce);
  EXPECT_EQ(with(&Firmware::sys_vendor, "Amazon EC2"), Platform::kAws);
  EXPECT_EQ(with(&Firmware::bios_version, "4.11.amazon"), Platform::kAws);
  EXPECT_EQ(with(&Firmware::product_name, "OpenStack Nova"), Platform::kOpenStack);
  EXPECT_EQ(with(&Firmware::sys_vendor, "QEMU"), Platform::kBareMetal);
}

TEST(Platform, HyperVIsAzureOnlyWithAzuresTag) {
  Firmware firmware;
  firmware.sys_vendor = "Microsoft Corporation";
  EXPECT_EQ(platform_of(firmware), Platform::kBareMetal);
  firmware.chassis_asset_tag = "7783-7084-3265-9085-8269-3286-77";
  EXPECT_EQ(platform_of(firmware), Platform::kAzure);
}

TEST(Platform, FilesAreReadUnderTheGivenRoot) {
  const TempFolder root;
  EXPECT_EQ(platform_of(observe_firmware(root.path())), Platform::kBareMetal);
  root.file("sys/class/dmi/id/product_name", "Google Compute Engine\n");
  EXPECT_EQ(platform_name(platform_of(observe_firmware(root.path()))), "gce");
}

}  // namespace
}  // namespace hawser::bootstrap
