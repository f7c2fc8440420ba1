// SPDX-License-Identifier: Apache-2.0
#include "certs/machine.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "test_ca.h"

namespace hawser::certs {
namespace {

constexpr char kId[] = "0123456789abcdef0123456789abcdef";

class MachineTest : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root.path() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  Machine observe() const { return observe_machine(root.path()); }

  test::TempFolder root;
};

TEST_F(MachineTest, WithoutFilesNothingIsKnown) {
  EXPECT_EQ(observe(), Machine());
}

TEST_F(MachineTest, TheMachineIdIsToldApartAndNotTold) {
  write("/etc/machine-id", std::string(kId) + "\n");
  const std::string first = observe().id;
  EXPECT_EQ(first.size(), 64U);
  EXPECT_EQ(first.find(kId), std::string::npos);
  EXPECT_EQ(observe().id, first);
  write("/etc/machine-id", "1123456789abcdef0123456789abcdef\n");
  EXPECT_NE(observe().id, first);
}

TEST_F(MachineTest, BeforeTheFirstBootThereIsNone) {
  for (const char* text : {"", "\n", "uninitialized\n", "0123456789abcdef\n"}) {
    write("/etc/machine-id", text);
    EXPECT_EQ(observe().id, "") << text;
  }
}

TEST_F(MachineTest, TheInstanceIsTheFirmwaresOrCloudInits) {
  write("/sys/class/dmi/id/board_asset_tag", "Not Specified\n");
  EXPECT_EQ(observe().instance, "");
  write("/var/lib/cloud/data/instance-id", "vm-7\n");
  EXPECT_EQ(observe().instance, "vm-7");
  write("/sys/class/dmi/id/board_asset_tag", "i-0123456789abcdef0\n");
  EXPECT_EQ(observe().instance, "i-0123456789abcdef0");
}

TEST(AreSame, ThePlatformsWordDecidesWhereBothHaveIt) {
  EXPECT_TRUE(are_same({"a", "i-1"}, {"b", "i-1"}));
  EXPECT_FALSE(are_same({"a", "i-1"}, {"a", "i-2"}));
  EXPECT_FALSE(are_same({"a", ""}, {"b", ""}));
  EXPECT_FALSE(are_same({"a", "i-1"}, {"b", ""}));
}

TEST(AreSame, WhatOneOfThemDoesNotKnowSaysNothing) {
  EXPECT_TRUE(are_same({}, {"a", "i-1"}));
  EXPECT_TRUE(are_same({"a", ""}, {"a", "i-1"}));
  EXPECT_TRUE(are_same({"", "i-1"}, {"a", ""}));
}

}  // namespace
}  // namespace hawser::certs
