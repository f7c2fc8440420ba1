// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/address.h"

#include <gtest/gtest.h>

namespace hawser::netfilter {
namespace {

std::string text(const std::string& input) {
  auto cidr = parse_cidr(input);
  return cidr ? cidr->text() : cidr.error().id();
}

TEST(Cidr, HostBitsAreCleared) {
  EXPECT_EQ(text("10.1.2.3/8"), "10.0.0.0/8");
  EXPECT_EQ(text("192.168.5.129/25"), "192.168.5.128/25");
  EXPECT_EQ(text("fd00:1:2::5/16"), "fd00::/16");
}

TEST(Cidr, ASingleAddressHasNoPrefix) {
  EXPECT_EQ(text("10.1.2.3"), "10.1.2.3");
  EXPECT_EQ(text("10.1.2.3/32"), "10.1.2.3");
  EXPECT_EQ(text("FD00::1"), "fd00::1");
}

TEST(Cidr, NonsenseIsRefused) {
  for (const char* bad : {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0/8", "fd00::/129",
                          "example.org", "10.0.0.0/08 ", "/8", "10.0.0.0/8/8"})
    EXPECT_EQ(text(bad), "HWS-NF-003") << bad;
}

TEST(Cidr, ContainedNetworksAreDropped) {
  std::vector<Cidr> input;
  for (const char* cidr : {"10.1.0.0/16", "fd00::1", "10.0.0.0/8", "192.0.2.1", "10.2.3.4", "fd00::/8", "10.0.0.0/8"})
    input.push_back(parse_cidr(cidr).value());
  std::vector<std::string> left;
  for (const Cidr& cidr : normalised(input)) left.push_back(cidr.text());
  EXPECT_EQ(left, (std::vector<std::string>{"10.0.0.0/8", "192.0.2.1", "fd00::/8"}));
}

TEST(Ports, RangesThatTouchAreMerged) {
  auto ranges = normalised(std::vector<PortRange>{{90, 100}, {22, 22}, {80, 89}, {95, 120}, {65535, 65535}}, "port");
  ASSERT_TRUE(ranges);
  EXPECT_EQ(*ranges, (std::vector<PortRange>{{22, 22}, {80, 120}, {65535, 65535}}));
}

TEST(Ports, BadOnesAreNamed) {
  EXPECT_EQ(normalised(std::vector<PortRange>{{0, 5}}, "port").error().id(), "HWS-NF-001");
  EXPECT_EQ(normalised(std::vector<PortRange>{{5, 65536}}, "port").error().id(), "HWS-NF-001");
  EXPECT_EQ(normalised(std::vector<PortRange>{{9, 5}}, "port").error().id(), "HWS-NF-002");
}

}  // namespace
}  // namespace hawser::netfilter
