// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "sample.h"

namespace hawser::netfilter {
namespace {

// A packet as the two hooks see it; the rules are evaluated on it as the kernel would.
struct Packet {
  Hook hook = Hook::kOutput;
  std::string to = "10.9.8.7";
  std::uint32_t dport = 80;
  std::uint32_t sport = 50000;
  std::uint32_t uid = 1000;
  std::uint32_t gid = 1000;
  std::string interface = "eth0";
  bool tcp = true;
  bool first = true;  // a SYN
  bool local = true;
};

bool has_port(const std::vector<PortRange>& ranges, std::uint32_t port) {
  return ranges.empty() || std::any_of(ranges.begin(), ranges.end(), [port](const PortRange& range) {
           return range.first <= port && port <= range.last;
         });
}

bool has(const std::vector<std::uint32_t>& values, std::uint32_t value) {
  return values.empty() || std::find(values.begin(), values.end(), value) != values.end();
}

bool matches(const Match& match, const Packet& packet) {
  const Cidr to = parse_cidr(packet.to).value();
  if (match.family != Family::kBoth && match.family != to.family) return false;
  if (match.protocol == (packet.tcp ? Protocol::kNotTcp : Protocol::kTcp)) return false;
  if (match.midstream && packet.first) return false;
  if (match.not_local && packet.local) return false;
  if (!match.interfaces.empty() && match.interfaces.front() != packet.interface) return false;
  if (!match.destinations.empty() && std::none_of(match.destinations.begin(), match.destinations.end(),
                                                  [&to](const Cidr& cidr) { return cidr.contains(to); }))
    return false;
  return has_port(match.destination_ports, packet.dport) && has_port(match.source_ports, packet.sport) &&
         (match.uids.empty() || contains(match.uids, packet.uid)) && has(match.gids, packet.gid);
}

// Where the packet goes: a port of the proxy, or 0.
std::uint16_t verdict(const Plan& plan, const Packet& packet) {
  for (const Rule& rule : plan.rules)
    if (rule.hook == packet.hook && matches(rule.match, packet)) return rule.action.port;
  return 0;
}

TEST(Plan, OrdinaryTrafficIsRedirectedInBothFamilies) {
  const Plan plan = must(basic());
  EXPECT_EQ(verdict(plan, {}), 15001);
  EXPECT_EQ(verdict(plan, {.to = "fd12::1"}), 15001);
  EXPECT_EQ(verdict(plan, {.hook = Hook::kPrerouting}), 15006);
  EXPECT_EQ(verdict(plan, {.hook = Hook::kPrerouting, .to = "fd12::1"}), 15006);
}

TEST(Plan, OnlyFamiliesWithAListenerAreCaptured) {
  Intent intent = basic();
  intent.ipv6 = false;
  const Plan plan = must(intent);
  EXPECT_EQ(verdict(plan, {.to = "fd12::1"}), 0);
  EXPECT_EQ(verdict(plan, {.to = "::1", .dport = kProbePort, .interface = "lo"}), 0);
  EXPECT_EQ(verdict(plan, {}), 15001);
}

TEST(Plan, OnlyDirectionsThatAreAskedForAreCaptured) {
  Intent intent = basic();
  intent.capture_inbound = false;
  EXPECT_EQ(verdict(must(intent), {.hook = Hook::kPrerouting}), 0);
  intent.capture_inbound = true;
  intent.capture_outbound = false;
  EXPECT_EQ(verdict(must(intent), {}), 0);
}

// The proxy passes the probe's connection on to where it was going; captured again, that would never end.
TEST(Plan, TheProxysOwnConnectToTheProbesAddressIsLeftAlone) {
  const Plan plan = must(basic());
  EXPECT_EQ(verdict(plan, {.to = kProbeAddress4, .dport = kProbePort, .uid = 882, .interface = "lo"}), 0);
  EXPECT_EQ(verdict(plan, {.to = kProbeAddress6, .dport = kProbePort, .uid = 882, .interface = "lo"}), 0);
}

TEST(Plan, TheProbeComesBeforeTheExemptionOfLoopback) {
  const Plan plan = must(basic());
  const Packet out4{.to = kProbeAddress4, .dport = kProbePort, .uid = 0, .interface = "lo"};
  const Packet out6{.to = kProbeAddress6, .dport = kProbePort, .uid = 0, .interface = "lo"};
  EXPECT_EQ(verdict(plan, out4), 15001);
  EXPECT_EQ(verdict(plan, out6), 15001);
}

TEST(Plan, ProxyAndAgentAreLeftAloneByUidAndByGid) {
  const Plan plan = must(basic());
  EXPECT_EQ(verdict(plan, {.uid = 881}), 0);
  EXPECT_EQ(verdict(plan, {.uid = 882}), 0);
  EXPECT_EQ(verdict(plan, {.gid = 882}), 0);
}

TEST(Plan, TheAgentsProbeOfItsOwnHostGoesToTheInboundPort) {
  Intent intent = basic();
  intent.own_probes = {{"10.77.0.20", 8080}, {"fd77::20", 8080}};
  intent.probe_uid = 881;
  const Plan plan = must(intent);
  EXPECT_EQ(verdict(plan, {.to = "10.77.0.20", .dport = 8080, .uid = 881, .interface = "lo"}), 15006);
  EXPECT_EQ(verdict(plan, {.to = "fd77::20", .dport = 8080, .uid = 881, .interface = "lo"}), 15006);
  EXPECT_EQ(verdict(plan, {.to = "10.77.0.20", .dport = 8081, .uid = 881, .interface = "lo"}), 0) << "another port";
  EXPECT_EQ(verdict(plan, {.to = "10.77.0.20", .dport = 8080, .uid = 882, .interface = "lo"}), 0) << "the proxy's own";
  EXPECT_EQ(verdict(plan, {.to = "127.0.0.1", .dport = 8080, .uid = 881, .interface = "lo"}), 0) << "around the proxy";
  intent.capture_inbound = false;
  EXPECT_EQ(verdict(must(intent), {.to = "10.77.0.20", .dport = 8080, .uid = 881, .interface = "lo"}), 0);
}

TEST(Plan, LoopbackIsLeftAlone) {
  const Plan plan = must(basic());
  EXPECT_EQ(verdict(plan, {.to = "127.0.0.1", .interface = "lo"}), 0);
  EXPECT_EQ(verdict(plan, {.hook = Hook::kPrerouting, .interface = "lo"}), 0);
}

TEST(Plan, ConnectionsOlderThanTheRulesAreLeftAlone) {
  const Plan plan = must(basic());
  EXPECT_EQ(verdict(plan, {.first = false}), 0);
  EXPECT_EQ(verdict(plan, {.hook = Hook::kPrerouting, .first = false}), 0);
}

TEST(Plan, TransitIsLeftAlone) {
  EXPECT_EQ(verdict(must(basic()), {.hook = Hook::kPrerouting, .local = false}), 0);
}

TEST(Plan, NamedNetworksAndPortsAreExcluded) {
  Intent intent = basic();
  intent.outbound_exclude_cidrs = {"10.0.0.0/8", "fd12::/16"};
  intent.outbound_exclude = {{3306, 3310}};
  intent.inbound_exclude = {{9100, 9100}};
  const Plan plan = must(intent);
  EXPECT_EQ(verdict(plan, {.to = "10.1.1.1"}), 0);
  EXPECT_EQ(verdict(plan, {.to = "11.1.1.1"}), 15001);
  EXPECT_EQ(verdict(plan, {.to = "fd12::1"}), 0);
  EXPECT_EQ(verdict(plan, {.to = "11.1.1.1", .dport = 3308}), 0);
  EXPECT_EQ(verdict(plan, {.hook = Hook::kPrerouting, .dport = 9100}), 0);
}

TEST(Plan, InboundPortsLimitTheCapture) {
  Intent intent = basic();
  intent.inbound_ports = {{8080, 8080}};
  const Plan plan = must(intent);
  EXPECT_EQ(verdict(plan, {.hook = Hook::kPrerouting, .dport = 8080}), 15006);
  EXPECT_EQ(verdict(plan, {.hook = Hook::kPrerouting, .dport = 8081}), 0);
}

TEST(Plan, SshdOnAnotherPortStaysReachable) {
  const Plan plan = must(basic(), {.ssh_ports = {2222}});
  EXPECT_EQ(verdict(plan, {.hook = Hook::kPrerouting, .dport = 2222}), 0);
  EXPECT_EQ(verdict(plan, {.sport = 2222}), 0);
  // … but other hosts' port 2222 is a port like any other.
  EXPECT_EQ(verdict(plan, {.dport = 2222}), 15001);
}

// Whatever the intent says, the safety rules hold: drawn at random, each with the packets that matter.
TEST(Plan, SafetyRulesHoldForEveryIntent) {
  std::mt19937 random(7);
  const auto coin = [&random] { return random() % 2 == 0; };
  for (int round = 0; round < 500; ++round) {
    Intent intent = basic();
    intent.capture_outbound = coin();
    intent.capture_inbound = !intent.capture_outbound || coin();
    intent.ipv4 = coin();
    intent.ipv6 = !intent.ipv4 || coin();
    if (coin()) intent.inbound_ports = {{1, 65535}, {22, 22}};
    if (coin()) intent.outbound_exclude_cidrs = {"10.0.0.0/8", "fd00::/8"};
    if (coin()) intent.exempt_gids.clear();
    intent.never = {{"10.77.0.10", 15012}, {"fd77::10", 0}};
    const Plan plan = must(intent);
    for (const char* to : {"10.9.8.7", "fd12::1"}) {
      for (const Hook hook : {Hook::kOutput, Hook::kPrerouting}) {
        EXPECT_EQ(verdict(plan, {.hook = hook, .to = to, .dport = 22}), 0);
        EXPECT_EQ(verdict(plan, {.hook = hook, .to = to, .sport = 22}), 0);
        EXPECT_EQ(verdict(plan, {.hook = hook, .to = to, .tcp = false}), 0);
      }
      EXPECT_EQ(verdict(plan, {.to = to, .uid = 882}), 0);
      for (const std::uint32_t port : {15001U, 15006U, 15020U, 15021U, 15090U})
        EXPECT_EQ(verdict(plan, {.hook = Hook::kPrerouting, .to = to, .dport = port}), 0);
    }
    for (const char* to : {"169.254.169.254", "fd00:ec2::254", "fe80::1", "168.63.129.16", "fd77::10"})
      EXPECT_EQ(verdict(plan, {.to = to}), 0) << to;
    EXPECT_EQ(verdict(plan, {.to = "10.77.0.10", .dport = 15012}), 0);
  }
}

TEST(Plan, AnIntentThatWouldLoopIsRefused) {
  Intent intent = basic();
  intent.exempt_uids.clear();
  EXPECT_EQ(id_of(intent), "HWS-NF-004");
}

TEST(Plan, AnIntentThatCapturesNothingIsRefused) {
  Intent intent = basic();
  intent.ipv4 = intent.ipv6 = false;
  EXPECT_EQ(id_of(intent), "HWS-NF-005");
  intent = basic();
  intent.capture_inbound = intent.capture_outbound = false;
  EXPECT_EQ(id_of(intent), "HWS-NF-005");
}

TEST(Plan, BadInputIsNamedAndHasAHint) {
  const auto expect = [](const char* id, const std::function<void(Intent&)>& spoil) {
    Intent intent = basic();
    spoil(intent);
    auto plan = compile(intent);
    ASSERT_FALSE(plan) << id;
    EXPECT_EQ(plan.error().id(), id);
    EXPECT_FALSE(plan.error().hint().empty());
  };
  expect("HWS-NF-001", [](Intent& intent) { intent.outbound_port = 0; });
  expect("HWS-NF-001", [](Intent& intent) { intent.inbound_port = 70000; });
  expect("HWS-NF-001", [](Intent& intent) { intent.inbound_ports = {{0, 80}}; });
  expect("HWS-NF-001", [](Intent& intent) { intent.outbound_exclude = {{80, 65536}}; });
  expect("HWS-NF-001", [](Intent& intent) { intent.never = {{"10.0.0.1", 65536}}; });
  expect("HWS-NF-002", [](Intent& intent) { intent.inbound_exclude = {{90, 80}}; });
  expect("HWS-NF-003", [](Intent& intent) { intent.outbound_exclude_cidrs = {"10.0.0.0/40"}; });
  expect("HWS-NF-003", [](Intent& intent) { intent.never = {{"istiod.istio-system.svc", 15012}}; });
  expect("HWS-NF-006", [](Intent& intent) { intent.inbound_port = intent.outbound_port; });
  expect("HWS-NF-007", [](Intent& intent) { intent.outbound_exclude_cidrs.assign(20000, "10.0.0.0/8"); });
}

TEST(Plan, TheDigestFollowsTheRulesAndNotTheOrderOfTheInput) {
  Intent intent = basic();
  intent.outbound_exclude_cidrs = {"10.0.0.0/8", "192.168.0.0/16"};
  Intent other = basic();
  other.outbound_exclude_cidrs = {"192.168.0.0/16", "10.1.0.0/16", "10.0.0.0/8"};
  std::reverse(other.exempt_uids.begin(), other.exempt_uids.end());
  EXPECT_EQ(must(intent).digest, must(other).digest);
  EXPECT_EQ(must(intent).digest.size(), 64U);
  other.ipv6 = false;
  EXPECT_NE(must(intent).digest, must(other).digest);
}

}  // namespace
}  // namespace hawser::netfilter
