// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// TPROXY and DNS, by what becomes of a packet.
#include <gtest/gtest.h>

#include "oracle.h"
#include "sample.h"

namespace hawser::netfilter {
namespace {

using oracle::Fate;
using oracle::Packet;
using oracle::port_of;
using oracle::send;

constexpr std::uint32_t kProxy = 882, kAgent = 881, kResolved = 990;

Intent transparent() {
  Intent intent = basic();
  intent.inbound_mode = InboundMode::kTproxy;
  intent.proxy.uids = {kProxy};
  return intent;
}

TEST(PlanTproxy, AFirstPacketGoesToTheProxyWithItsAddress) {
  const Plan plan = must(transparent());
  ASSERT_TRUE(plan.tproxy);
  EXPECT_EQ(plan.tproxy->table, 133U);
  for (const char* to : {"10.77.0.20", "fd77::20"}) {
    const Fate fate = send(plan, {.out = false, .to = to, .dport = 8080});
    EXPECT_TRUE(fate.tproxy);
    EXPECT_EQ(fate.port, 15006U);
    EXPECT_EQ(fate.mark, 1337U);
  }
  EXPECT_EQ(port_of(plan, {}), 15001U) << "outbound is redirected as ever";
}

TEST(PlanTproxy, TheNeverListIsLeftAlone) {
  const Plan plan = must(transparent(), {.ssh_ports = {2200}});
  for (const std::uint32_t port : {22U, 2200U, 15001U, 15006U, 15020U, 15021U, 15090U})
    EXPECT_EQ(port_of(plan, {.out = false, .dport = port}), 0U) << port;
  EXPECT_EQ(port_of(plan, {.out = false, .sport = 22}), 0U);
  EXPECT_EQ(port_of(plan, {.out = false, .udp = true}), 0U);
  EXPECT_EQ(port_of(plan, {.out = false, .local = false}), 0U);
  EXPECT_EQ(port_of(plan, {.out = false, .interface = "lo"}), 0U) << "a program's call to its own host";
}

TEST(PlanTproxy, AConnectionThatIsThereStaysWhereItIs) {
  const Plan plan = must(transparent());
  Fate fate = send(plan, {.out = false, .first = false, .tracked = Tracked::kEstablished});
  EXPECT_EQ(fate.port, 0U);
  EXPECT_EQ(fate.mark, 1337U);
  fate = send(plan, {.out = false, .first = false});
  EXPECT_EQ(fate.port, 0U) << "older than the rules";
}

// proxy → program with the caller's address, and the program's answer.
TEST(PlanTproxy, TheProgramsAnswersFindBackToTheProxy) {
  const Plan plan = must(transparent());
  Packet call{.to = "10.77.0.20", .dport = 8080, .from = "10.9.8.7", .uid = kProxy, .interface = "lo", .mark = 1337};
  EXPECT_EQ(send(plan, call).by, Purpose::kExemptUser);
  EXPECT_EQ(send(plan, call).mark, 1337U) << "kept, and not made the mark of a self-call";
  call.out = false;
  const Fate arrived = send(plan, call);
  EXPECT_EQ(arrived.port, 0U);
  EXPECT_EQ(arrived.connection_mark, 1337U);
  Packet answer{.to = "10.9.8.7", .dport = 50000, .sport = 8080, .first = false};
  answer.connection_mark = arrived.connection_mark;
  EXPECT_EQ(send(plan, answer).mark, 1337U) << "which the route of the mark brings to the proxy";
  answer.connection_mark = 0;
  EXPECT_EQ(send(plan, answer).mark, 0U) << "another connection's";
}

TEST(PlanTproxy, ASelfCallAndTheAgentsProbeComeInByLo) {
  Intent intent = transparent();
  intent.own_probes = {{"10.77.0.20", 8080}};
  intent.probe_uid = kAgent;
  const Plan plan = must(intent);
  for (const std::uint32_t uid : {kProxy, kAgent}) {
    Packet call{.to = "10.77.0.20", .dport = 8080, .uid = uid, .interface = "lo"};
    const Fate out = send(plan, call);
    EXPECT_EQ(out.mark, 1338U);
    EXPECT_EQ(out.port, 0U);
    call.out = false;
    call.mark = out.mark;
    EXPECT_EQ(port_of(plan, call), 15006U);
  }
  Packet passed_on{.to = "10.77.0.20", .dport = 8080, .from = "127.0.0.6", .uid = kProxy, .interface = "lo"};
  EXPECT_EQ(send(plan, passed_on).mark, 0U);
}

TEST(PlanTproxy, WithoutAProxyInboundIsRefusedAsEver) {
  Intent intent = transparent();
  intent.refuse = true;
  const Plan plan = must(intent);
  EXPECT_FALSE(plan.tproxy);
  EXPECT_TRUE(send(plan, {.out = false}).refused);
}

TEST(PlanTproxy, MarksAndTablesThatCannotWorkAreRefused) {
  Intent intent = transparent();
  intent.tproxy = {0x100, 0x0f0, 133};
  EXPECT_EQ(id_of(intent), "HWS-NF-032");
  intent.tproxy = {0xff, 0xff, 133};  // the next mark doesn't fit
  EXPECT_EQ(id_of(intent), "HWS-NF-032");
  intent.tproxy = {0, 0xffffffff, 133};
  EXPECT_EQ(id_of(intent), "HWS-NF-032");
  intent.tproxy = {1337, 0xffffffff, 254};
  EXPECT_EQ(id_of(intent), "HWS-NF-033");
}

Intent names(Dns::Capture capture = Dns::Capture::kAll) {
  Intent intent = basic();
  intent.dns.capture = capture;
  intent.dns.ipv6 = true;
  intent.dns.agent.uids = {kAgent};
  intent.dns.host_resolver.uids = {kResolved};
  return intent;
}

Packet question(bool udp = true) {
  return {.to = "10.9.9.9", .dport = 53, .udp = udp};
}

TEST(PlanDns, QuestionsGoToTheAgentOverUdpAndTcp) {
  const Plan plan = must(names());
  EXPECT_EQ(plan.dns_port, 15053);
  for (const bool udp : {true, false}) {
    Packet ask = question(udp);
    EXPECT_EQ(port_of(plan, ask), 15053U);
    ask.to = "fd00::53";
    EXPECT_EQ(port_of(plan, ask), 15053U);
    ask = question(udp);
    ask.interface = "lo";
    ask.to = "127.0.0.53";
    EXPECT_EQ(port_of(plan, ask), 15053U) << "systemd-resolved's stub";
  }
  EXPECT_EQ(port_of(plan, {.dport = 54, .udp = true}), 0U);
}

TEST(PlanDns, TheAgentAndTheHostsResolverAskDirectly) {
  const Plan plan = must(names(), {.host_resolver = {.uids = {77}}});
  for (const std::uint32_t uid : {kAgent, kResolved, kProxy, 77U})
    for (const bool udp : {true, false}) {
      Packet ask = question(udp);
      ask.uid = uid;
      EXPECT_EQ(port_of(plan, ask), 0U) << uid;
    }
}

TEST(PlanDns, OfSomeServersOnlyTheirQuestionsAreCaptured) {
  Intent intent = names(Dns::Capture::kResolvers);
  const Guard guard{.resolvers = {"10.9.9.9", "127.0.0.53"}};
  const Plan plan = must(intent, guard);
  EXPECT_EQ(port_of(plan, question()), 15053U);
  EXPECT_EQ(port_of(plan, {.to = "8.8.8.8", .dport = 53, .udp = true}), 0U);
  EXPECT_EQ(port_of(plan, {.to = "8.8.8.8", .dport = 53}), 15001U) << "TCP like any other";
  EXPECT_EQ(port_of(plan, {.to = "fd00::53", .dport = 53, .udp = true}), 0U) << "no server in this family";
  intent.dns.resolvers = {"8.8.8.8"};
  EXPECT_EQ(port_of(must(intent, guard), {.to = "8.8.8.8", .dport = 53, .udp = true}), 15053U);
  EXPECT_EQ(port_of(must(intent, guard), question()), 0U) << "those that are named alone";
  intent.dns.resolvers.clear();
  EXPECT_EQ(must(intent).dns_port, 0) << "none was found";
}

TEST(PlanDns, FollowsTheAgentsListenersAndFailsOpen) {
  Intent intent = names();
  intent.dns.ipv6 = false;
  EXPECT_EQ(port_of(must(intent), {.to = "fd00::53", .dport = 53, .udp = true}), 0U);
  EXPECT_EQ(port_of(must(intent), question()), 15053U);
  intent.refuse = true;
  const Fate fate = send(must(intent), question());
  EXPECT_FALSE(fate.refused);
  EXPECT_EQ(fate.port, 0U);
}

TEST(PlanDns, WhoIsNotCapturedKeepsItsOwnNames) {
  Intent intent = names();
  intent.groups_exclude = {600};
  intent.user_ports = {{{601}, {{53, 53}}, Protocol::kUdp}};
  const Plan plan = must(intent);
  Packet ask = question();
  ask.gid = 600;
  EXPECT_EQ(port_of(plan, ask), 0U);
  EXPECT_EQ(send(plan, ask).zone, 1);
  ask = question();
  ask.uid = 601;
  EXPECT_EQ(port_of(plan, ask), 0U);
  EXPECT_EQ(send(plan, ask).zone, 1);
  ask.udp = false;
  EXPECT_EQ(port_of(plan, ask), 15053U);
}

// What is asked and what is answered has to be in one zone, or tracking doesn't know the answer.
TEST(PlanDns, QuestionAndAnswerMeetInOneZone) {
  const Plan plan = must(names());
  EXPECT_EQ(send(plan, question()).zone, 2);
  const Packet agents_answer{.to = "10.77.0.20",
                             .dport = 40000,
                             .from = "127.0.0.1",
                             .sport = 15053,
                             .uid = kAgent,
                             .interface = "lo",
                             .udp = true};
  EXPECT_EQ(send(plan, agents_answer).zone, 2);
  for (const std::uint32_t uid : {kAgent, kResolved, kProxy}) {
    Packet upstream = question();
    upstream.uid = uid;
    EXPECT_EQ(send(plan, upstream).zone, 1) << uid;
  }
  const Packet servers_answer{
      .out = false, .to = "10.77.0.20", .dport = 40000, .from = "10.9.9.9", .sport = 53, .udp = true};
  EXPECT_EQ(send(plan, servers_answer).zone, 1);
  const Packet stubs_answer{.to = "127.0.0.1",
                            .dport = 40000,
                            .from = "127.0.0.53",
                            .sport = 53,
                            .uid = kResolved,
                            .interface = "lo",
                            .udp = true};
  EXPECT_EQ(send(plan, stubs_answer).zone, 1);
}

TEST(PlanDns, OtherServersStayInTheZoneOfAll) {
  const Plan plan = must(names(Dns::Capture::kResolvers), {.resolvers = {"10.9.9.9"}});
  for (const std::uint32_t uid : {1000U, kAgent})
    EXPECT_EQ(send(plan, {.to = "8.8.8.8", .dport = 53, .uid = uid, .udp = true}).zone, 0);
  EXPECT_EQ(
      send(plan, {.out = false, .to = "10.77.0.20", .dport = 1, .from = "8.8.8.8", .sport = 53, .udp = true}).zone, 0);
}

TEST(PlanDns, NothingOfItIsThereByDefault) {
  for (const Rule& rule : must(basic()).rules) {
    EXPECT_NE(rule.purpose, Purpose::kDns);
    EXPECT_TRUE(rule.hook == Hook::kOutput || rule.hook == Hook::kPrerouting);
  }
}

}  // namespace
}  // namespace hawser::netfilter
