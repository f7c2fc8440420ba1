// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/emit_nft.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace hawser::netfilter {
namespace {

// HAWSER_UPDATE_GOLDEN=1 writes the files anew; review the difference.
void expect_golden(const std::string& name, const Intent& intent, const Guard& guard = {}) {
  auto plan = compile(intent, guard);
  ASSERT_TRUE(plan) << plan.error().to_string();
  const char* source = std::getenv("HAWSER_SOURCE_DIR");
  ASSERT_NE(source, nullptr);
  const std::string path = std::string(source) + "/tests/unit/netfilter/golden/" + name + ".nft";
  if (std::getenv("HAWSER_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << emit_nft(*plan, Existing::kNothing);
  std::ifstream file(path);
  std::stringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(emit_nft(*plan, Existing::kNothing), golden.str()) << path;
}

Intent basic() {
  Intent intent;
  intent.exempt_uids = {881, 882};
  intent.exempt_gids = {881, 882};
  return intent;
}

TEST(EmitNft, AllTrafficInBothFamilies) {
  Intent intent = basic();
  intent.ipv6 = true;
  intent.never = {{"10.77.0.10", 15012}, {"fd77::10", 15012}};
  expect_golden("all", intent);
}

TEST(EmitNft, EveryOption) {
  Intent intent = basic();
  intent.ipv6 = true;
  intent.exempt_uids = {882};
  intent.exempt_gids.clear();
  intent.inbound_ports = {{8080, 8090}, {9000, 9000}};
  intent.inbound_exclude = {{8085, 8085}};
  intent.outbound_exclude = {{3306, 3306}, {5432, 5433}};
  intent.outbound_exclude_cidrs = {"10.0.0.0/8", "192.168.1.1", "fd12::/16"};
  intent.never = {{"10.77.0.10", 0}};
  expect_golden("options", intent, {.ssh_ports = {22, 2222}});
}

TEST(EmitNft, OutboundIpv4Only) {
  Intent intent = basic();
  intent.capture_inbound = false;
  expect_golden("outbound4", intent);
}

TEST(EmitNft, WithoutAProxyWhatIsCapturedIsRefused) {
  Intent intent = basic();
  intent.ipv6 = true;
  intent.inbound_ports = {{8080, 8080}};
  intent.refuse = true;
  expect_golden("refused", intent);
}

TEST(EmitNft, ASuccessorsTableHasItsOwnName) {
  auto plan = compile(basic());
  ASSERT_TRUE(plan);
  const std::string text = emit_nft(*plan, Existing::kRules, kOtherTable);
  EXPECT_NE(text.find("delete table inet hawser_next\ntable inet hawser_next {"), std::string::npos) << text;
  EXPECT_EQ(text.find("table inet hawser {"), std::string::npos) << "the predecessor's is left alone";
}

TEST(EmitNft, InboundIpv6Only) {
  Intent intent = basic();
  intent.capture_outbound = false;
  intent.ipv4 = false;
  intent.ipv6 = true;
  expect_golden("inbound6", intent);
}

TEST(EmitNft, TheWholeChangeIsInOneText) {
  const std::string text = emit_nft(compile(basic()).value(), Existing::kRules);
  EXPECT_NE(text.find("delete table inet hawser\n"), std::string::npos);
  EXPECT_LT(text.find("delete table inet hawser\n"), text.find("chain output"));
  EXPECT_NE(text.find("flags owner"), std::string::npos);
  EXPECT_NE(text.find("priority -101"), std::string::npos);
  EXPECT_EQ(text.find("delete table inet hawser_anchor"), std::string::npos);
}

}  // namespace
}  // namespace hawser::netfilter
