// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Every option of an intent, by what becomes of a packet.
#include <gtest/gtest.h>

#include "oracle.h"
#include "sample.h"

namespace hawser::netfilter {
namespace {

using oracle::Packet;
using oracle::port_of;
using oracle::send;

constexpr std::uint32_t kProxyId = 882;

Intent calling_itself() {
  Intent intent = basic();
  intent.proxy.uids = {kProxyId};
  return intent;
}

Packet by_proxy(std::string to, std::uint32_t dport) {
  return {.to = std::move(to), .dport = dport, .uid = kProxyId, .interface = "lo"};
}

TEST(PlanSelfCall, GoesThroughTheInboundListenerInBothFamilies) {
  const Plan plan = must(calling_itself());
  EXPECT_EQ(port_of(plan, by_proxy("10.77.0.20", 8080)), 15006U);
  EXPECT_EQ(port_of(plan, by_proxy("fd77::20", 8080)), 15006U);
}

TEST(PlanSelfCall, OfTheProxyAloneAndOnlyToThisHost) {
  const Plan plan = must(calling_itself());
  EXPECT_EQ(port_of(plan, {.to = "10.77.0.20", .dport = 8080, .interface = "lo"}), 0U) << "a program's";
  EXPECT_EQ(port_of(plan, {.to = "10.9.8.7", .dport = 8080, .uid = kProxyId}), 0U) << "to elsewhere";
  EXPECT_EQ(port_of(plan, by_proxy("127.0.0.1", 8080)), 0U);
  EXPECT_EQ(port_of(plan, by_proxy("::1", 8080)), 0U);
}

TEST(PlanSelfCall, WhatTheInboundListenerPassesOnIsNotSentBackToIt) {
  const Plan plan = must(calling_itself());
  Packet passed_on = by_proxy("10.77.0.20", 8080);
  passed_on.from = "127.0.0.6";
  EXPECT_EQ(port_of(plan, passed_on), 0U);
  passed_on = by_proxy("fd77::20", 8080);
  passed_on.from = "::6";
  EXPECT_EQ(port_of(plan, passed_on), 0U);
}

TEST(PlanSelfCall, MeetsTheSamePortsAsACallFromElsewhere) {
  Intent intent = calling_itself();
  intent.inbound_exclude = {{9100, 9100}};
  intent.hbone_port = 15008;
  const Plan plan = must(intent, {.ssh_ports = {2200}});
  for (const std::uint32_t port : {22U, 2200U, 9100U, 15001U, 15006U, 15008U, 15020U, 15021U, 15090U}) {
    EXPECT_EQ(port_of(plan, by_proxy("10.77.0.20", port)), 0U) << port;
    EXPECT_EQ(port_of(plan, {.out = false, .to = "10.77.0.20", .dport = port}), 0U) << port;
  }
  intent.inbound_ports = {{8080, 8080}};
  EXPECT_EQ(port_of(must(intent), by_proxy("10.77.0.20", 8080)), 15006U);
  EXPECT_EQ(port_of(must(intent), by_proxy("10.77.0.20", 8081)), 0U);
}

TEST(PlanSelfCall, LeavesConnectionsThatAreOlderThanTheRules) {
  Packet older = by_proxy("10.77.0.20", 8080);
  older.first = false;
  EXPECT_EQ(port_of(must(calling_itself()), older), 0U);
}

TEST(PlanSelfCall, RecognisesTheProxyByEachOfItsMarks) {
  Intent intent = basic();
  intent.proxy = {{}, {70}, {"hawser.slice"}, {{0x50, 0xf0}}};
  const Plan plan = must(intent);
  const Packet call{.to = "10.77.0.20", .dport = 8080, .interface = "lo"};
  EXPECT_EQ(port_of(plan, call), 0U);
  Packet by = call;
  by.gid = 70;
  EXPECT_EQ(port_of(plan, by), 15006U);
  by = call;
  by.cgroup = "hawser.slice/f1e0.service";
  EXPECT_EQ(port_of(plan, by), 15006U);
  by = call;
  by.mark = 0x51;
  EXPECT_EQ(port_of(plan, by), 15006U);
}

TEST(PlanSelfCall, CanBeSwitchedOffAndNeedsBothDirectionsAndAProxy) {
  const auto expect_direct = [](const Intent& intent) {
    EXPECT_EQ(port_of(must(intent), by_proxy("10.77.0.20", 8080)), 0U);
    EXPECT_FALSE(send(must(intent), by_proxy("10.77.0.20", 8080)).refused);
  };
  Intent intent = calling_itself();
  intent.self_call = false;
  expect_direct(intent);
  intent = calling_itself();
  intent.capture_inbound = false;
  expect_direct(intent);
  intent = calling_itself();
  intent.refuse = true;
  expect_direct(intent);
}

TEST(PlanExempt, ByUidGidCgroupAndMark) {
  Intent intent = basic();
  intent.exempt_uids.push_back(500);
  intent.exempt_gids.push_back(501);
  intent.exempt_cgroups = {"system.slice/backup.service"};
  intent.exempt_marks = {{0x500, 0xf00}};
  const Plan plan = must(intent);
  EXPECT_EQ(send(plan, {.uid = 500}).by, Purpose::kExemptUser);
  EXPECT_EQ(send(plan, {.gid = 501}).by, Purpose::kExemptGroup);
  EXPECT_EQ(send(plan, {.cgroup = "system.slice/backup.service"}).by, Purpose::kExemptCgroup);
  EXPECT_EQ(send(plan, {.cgroup = "system.slice/backup.service/job"}).by, Purpose::kExemptCgroup);
  EXPECT_EQ(send(plan, {.mark = 0x5ff}).by, Purpose::kExemptMark);
  EXPECT_EQ(port_of(plan, {.cgroup = "system.slice/backup.service2"}), 15001U);
  EXPECT_EQ(port_of(plan, {.mark = 0x600}), 15001U);
}

TEST(PlanGroups, IncludedOnesAloneOrAllButTheExcluded) {
  Intent intent = basic();
  intent.groups_include = {100, 101};
  EXPECT_EQ(port_of(must(intent), {.gid = 101}), 15001U);
  EXPECT_EQ(port_of(must(intent), {.gid = 102}), 0U);
  intent.groups_include.clear();
  intent.groups_exclude = {100, 101};
  EXPECT_EQ(port_of(must(intent), {.gid = 101}), 0U);
  EXPECT_EQ(port_of(must(intent), {.gid = 102}), 15001U);
  intent.groups_include = {100};
  EXPECT_EQ(id_of(intent), "HWS-NF-034");
}

TEST(PlanUsers, MayBeRanges) {
  Intent intent = basic();
  intent.exempt_uids.push_back({4001, 4010});
  intent.exempt_uids.push_back({4005, 4020});  // nft refuses what overlaps
  intent.exempt_uids.push_back(4020);
  intent.user_ports = {{{{300, 309}}, {{5000, 5010}}, Protocol::kTcp}};
  const Plan plan = must(intent);
  EXPECT_EQ(port_of(plan, {.uid = 4000}), 15001U);
  for (const std::uint32_t uid : {4001U, 4011U, 4020U}) EXPECT_EQ(send(plan, {.uid = uid}).by, Purpose::kExemptUser);
  EXPECT_EQ(port_of(plan, {.uid = 4021}), 15001U);
  EXPECT_EQ(port_of(plan, {.dport = 5005, .uid = 309}), 0U);
  EXPECT_EQ(port_of(plan, {.dport = 5005, .uid = 310}), 15001U);
  EXPECT_EQ(std::count_if(
                plan.rules.begin(), plan.rules.end(),
                [](const Rule& rule) { return to_string(rule).find(" uid 881,882,4001-4020 ") != std::string::npos; }),
            1);
  intent.exempt_uids = {{10, 9}};
  EXPECT_EQ(id_of(intent), "HWS-NF-036");
  intent.exempt_uids = {1};
  intent.user_ports = {{{{8, 7}}, {}, Protocol::kTcp}};
  EXPECT_EQ(id_of(intent), "HWS-NF-036");
}

TEST(PlanUserPorts, ExcludeThesePortsForTheseUsers) {
  Intent intent = basic();
  intent.user_ports = {{{300, 301}, {{5000, 5010}}, Protocol::kTcp}, {{302}, {}, Protocol::kAny}};
  const Plan plan = must(intent);
  EXPECT_EQ(port_of(plan, {.dport = 5005, .uid = 301}), 0U);
  EXPECT_EQ(port_of(plan, {.dport = 5011, .uid = 301}), 15001U);
  EXPECT_EQ(port_of(plan, {.dport = 5005, .uid = 299}), 15001U);
  EXPECT_EQ(port_of(plan, {.dport = 1, .uid = 302}), 0U);
}

TEST(PlanInterfaces, AreExcludedBothWaysByNameAndByBeginning) {
  Intent intent = basic();
  intent.exclude_interfaces = {"eth1", "docker*"};
  const Plan plan = must(intent);
  for (const bool out : {true, false}) {
    EXPECT_EQ(send(plan, {.out = out, .interface = "eth1"}).by, Purpose::kInterface);
    EXPECT_EQ(send(plan, {.out = out, .interface = "docker0"}).by, Purpose::kInterface);
    EXPECT_NE(port_of(plan, {.out = out, .interface = "eth10"}), 0U);
  }
}

TEST(PlanOutbound, EitherAnIncludedNetworkOrAnIncludedPortIsEnough) {
  Intent intent = basic();
  intent.outbound_cidrs = {"10.0.0.0/8", "fd12::/16"};
  Plan plan = must(intent);
  EXPECT_EQ(port_of(plan, {.to = "10.1.1.1"}), 15001U);
  EXPECT_EQ(port_of(plan, {.to = "11.1.1.1"}), 0U);
  EXPECT_EQ(port_of(plan, {.to = "fd12::1"}), 15001U);
  EXPECT_EQ(port_of(plan, {.to = "fd13::1"}), 0U);
  intent.outbound_ports = {{8080, 8081}};
  plan = must(intent);
  EXPECT_EQ(port_of(plan, {.to = "11.1.1.1", .dport = 8081}), 15001U);
  EXPECT_EQ(port_of(plan, {.to = "11.1.1.1", .dport = 8082}), 0U);
  EXPECT_EQ(port_of(plan, {.to = "10.1.1.1", .dport = 8082}), 15001U);
  intent.outbound_cidrs = {"10.0.0.0/8"};  // none of IPv6
  EXPECT_EQ(port_of(must(intent), {.to = "fd12::1"}), 0U);
  EXPECT_EQ(port_of(must(intent), {.to = "fd12::1", .dport = 8080}), 15001U);
}

TEST(PlanOutbound, WhatIsExcludedStaysSoWithinWhatIsIncluded) {
  Intent intent = basic();
  intent.outbound_cidrs = {"10.0.0.0/8"};
  intent.outbound_exclude_cidrs = {"10.1.0.0/16"};
  intent.outbound_exclude = {{9000, 9000}};
  EXPECT_EQ(port_of(must(intent), {.to = "10.1.1.1"}), 0U);
  EXPECT_EQ(port_of(must(intent), {.to = "10.2.1.1"}), 15001U);
  EXPECT_EQ(port_of(must(intent), {.to = "10.2.1.1", .dport = 9000}), 0U);
}

TEST(PlanInbound, SeveralServicesAreTheUnionOfTheirPorts) {
  Intent intent = basic();
  intent.services = {{"web", {{8080, 8080}}}, {"rpc", {{9000, 9001}}}};
  for (const auto& [port, to] : {std::pair{8080U, 15006U}, {9001U, 15006U}, {9002U, 0U}})
    EXPECT_EQ(port_of(must(intent), {.out = false, .dport = port}), to);
  intent.inbound_ports = {{7000, 7000}};
  for (const auto& [port, to] : {std::pair{8080U, 15006U}, {7000U, 15006U}, {9002U, 0U}})
    EXPECT_EQ(port_of(must(intent), {.out = false, .dport = port}), to);
  intent.services.push_back({"none", {}});
  EXPECT_EQ(id_of(intent), "HWS-NF-035");
}

TEST(PlanInbound, HboneIsDialledDirectly) {
  Intent intent = basic();
  EXPECT_EQ(port_of(must(intent), {.out = false, .dport = 15008}), 15006U);
  intent.hbone_port = 15008;
  EXPECT_EQ(send(must(intent), {.out = false, .dport = 15008}).by, Purpose::kHbone);
}

TEST(PlanInbound, WhatTrackingCannotPlaceIsDroppedOnCapturedPortsAlone) {
  Intent intent = basic();
  intent.inbound_ports = {{8080, 8080}};
  intent.drop_invalid = true;
  const Packet bad{.out = false, .dport = 8080, .first = false, .tracked = Tracked::kInvalid};
  for (const InboundMode mode : {InboundMode::kRedirect, InboundMode::kTproxy}) {
    intent.inbound_mode = mode;
    const Plan plan = must(intent);
    EXPECT_TRUE(send(plan, bad).dropped);
    for (Packet other : {bad, bad, bad, bad, bad, bad}) {
      static int which = 0;
      switch (which++ % 6) {
        case 0:
          other.dport = 8081;
          break;
        case 1:
          other.sport = 22;
          break;
        case 2:
          other.interface = "lo";
          break;
        case 3:
          other.local = false;
          break;
        case 4:
          other.udp = true;
          break;
        default:
          other.tracked = Tracked::kEstablished;
      }
      EXPECT_FALSE(send(plan, other).dropped) << which;
    }
    intent.drop_invalid = false;
    EXPECT_FALSE(send(must(intent), bad).dropped);
    intent.drop_invalid = true;
  }
}

}  // namespace
}  // namespace hawser::netfilter
