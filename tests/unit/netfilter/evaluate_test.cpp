// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/evaluate.h"

#include <gtest/gtest.h>

#include "sample.h"

// Matches by hand name the parts that they have.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace hawser::netfilter {
namespace {

bool captured(const Intent& intent, const std::string& to, std::uint16_t port, std::uint16_t from = 50000,
              const Guard& guard = {}) {
  const auto plan = compile(intent, guard);
  EXPECT_TRUE(plan);
  return plan && may_capture(*plan, {parse_cidr(to).value(), from, port, false});
}

TEST(Evaluate, WhatGoesOutIsCapturedInEachFamilyThatHasAListener) {
  EXPECT_TRUE(captured(basic(), "10.9.8.7", 80));
  EXPECT_TRUE(captured(basic(), "fd00::7", 80));
  Intent ipv4 = basic();
  ipv4.ipv6 = false;
  EXPECT_FALSE(captured(ipv4, "fd00::7", 80));
}

TEST(Evaluate, TheNeverListIsLeftAlone) {
  Intent intent = basic();
  intent.never = {{"10.0.0.1", 15012}};
  EXPECT_FALSE(captured(intent, "10.9.8.7", 22));
  EXPECT_FALSE(captured(intent, "10.9.8.7", 40000, 2200, {{2200}}));
  EXPECT_FALSE(captured(intent, "169.254.169.254", 80));
  EXPECT_FALSE(captured(intent, "10.0.0.1", 15012));
  EXPECT_TRUE(captured(intent, "10.0.0.1", 80));
}

TEST(Evaluate, WhatTheOperatorExcludedIsLeftAlone) {
  Intent intent = basic();
  intent.outbound_exclude = {{3000, 3100}};
  intent.outbound_exclude_cidrs = {"10.1.0.0/16", "fd01::/16"};
  EXPECT_FALSE(captured(intent, "10.9.8.7", 3050));
  EXPECT_TRUE(captured(intent, "10.9.8.7", 3101));
  EXPECT_FALSE(captured(intent, "10.1.2.3", 80));
  EXPECT_FALSE(captured(intent, "fd01::3", 80));
}

TEST(Evaluate, WhatIsRefusedIsCapturedToo) {
  Intent intent = basic();
  intent.refuse = true;
  EXPECT_TRUE(captured(intent, "10.9.8.7", 80));
}

TEST(Evaluate, WithoutOutboundRulesNothingIsCaptured) {
  Intent intent = basic();
  intent.capture_outbound = false;
  EXPECT_FALSE(captured(intent, "10.9.8.7", 80));
}

// A plan by hand: what the compiler makes of a configuration is plan_test's.
Plan of(std::vector<Rule> rules) {
  Plan plan;
  plan.rules = std::move(rules);
  return plan;
}

Packet to(const std::string& address, std::uint16_t port = 80) {
  Packet packet;
  packet.destination = parse_cidr(address).value();
  packet.destination_port = port;
  return packet;
}

Packet from_elsewhere(const std::string& address, std::uint16_t port = 80) {
  Packet packet = to(address, port);
  packet.outgoing = false;
  packet.local = true;
  return packet;
}

constexpr Action kToProxy{Action::Kind::kRedirect, 15001};
constexpr Action kToSocket{Action::Kind::kTproxy, 15006, 0x539};
using OutcomeKind = Outcome::Kind;

TEST(Evaluate, TheFirstRuleOfAHookThatEndsTheWayDecides) {
  const Plan plan = of({{Hook::kOutput, Purpose::kSsh, {.destination_ports = {{22, 22}}}, {}},
                        {Hook::kOutput, Purpose::kRedirect, {.protocol = Protocol::kTcp}, kToProxy},
                        {Hook::kOutput, Purpose::kRedirect, {}, {Action::Kind::kDrop}}});
  EXPECT_EQ(evaluate(plan, to("10.0.0.1", 22)).kind, OutcomeKind::kLeft);
  EXPECT_EQ(evaluate(plan, to("10.0.0.1", 22)).rule, 0U);
  EXPECT_EQ(evaluate(plan, to("10.0.0.1")).kind, OutcomeKind::kRedirected);
  EXPECT_EQ(evaluate(plan, to("10.0.0.1")).port, 15001);
  Packet datagram = to("10.0.0.1");
  datagram.transport = Transport::kUdp;
  EXPECT_EQ(evaluate(plan, datagram).kind, OutcomeKind::kDropped);
  EXPECT_EQ(evaluate(of({}), datagram).rule, std::nullopt);
}

TEST(Evaluate, EveryPartOfAMatchHasToFit) {
  Match all;
  all.family = Family::kIpv4;
  all.protocol = Protocol::kTcp;
  all.interfaces = {"bond*", "eth0"};
  all.sources = {parse_cidr("10.0.0.0/8").value()};
  all.destinations = {parse_cidr("192.0.2.0/24").value()};
  all.not_destinations = {parse_cidr("192.0.2.9").value()};
  all.source_ports = {{1024, 2048}};
  all.destination_ports = {{80, 80}, {443, 443}};
  all.not_destination_ports = {{8080, 8080}};
  all.uids = {7, 8};
  all.gids = {9};
  all.not_gids = {10};
  all.cgroups = {"system.slice/app.service"};
  all.marks = {{0x10, 0xf0}};
  all.not_marks = {{0x11, 0xffffffff}};
  all.connection_marks = {{3, 0xffffffff}};
  Packet fits = to("192.0.2.1");
  fits.source = parse_cidr("10.1.1.1").value();
  fits.source_port = 1500;
  fits.interface = "bond0.7";
  fits.uid = 8;
  fits.gid = 9;
  fits.cgroup = "system.slice/app.service/sub";
  fits.mark = 0x12;
  fits.connection_mark = 3;
  ASSERT_EQ(matches(all, fits, true), Answer::kYes);
  EXPECT_EQ(matches(all, fits, false), Answer::kNo) << "what comes in has no owner";
  const auto without = [&](auto change) {
    Packet other = fits;
    change(other);
    return matches(all, other, true);
  };
  EXPECT_EQ(without([](Packet& p) { p.destination = parse_cidr("192.0.2.9").value(); }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.destination = parse_cidr("192.0.3.1").value(); }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.destination = parse_cidr("fd00::1").value(); }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.transport = Transport::kUdp; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.source = parse_cidr("11.1.1.1").value(); }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.source_port = 2049; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.destination_port = 81; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.interface = "eth1"; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.interface = "eth00"; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.uid = 9; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.gid = 10; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.cgroup = "system.slice/app.service2"; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.mark = 0x22; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.mark = 0x11; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.connection_mark = 4; }), Answer::kNo);
  EXPECT_EQ(without([](Packet& p) { p.uid.reset(); }), Answer::kUnknown);
  EXPECT_EQ(without([](Packet& p) { p.source.reset(); }), Answer::kUnknown);
  EXPECT_EQ(without([](Packet& p) { p.interface.reset(); }), Answer::kUnknown);
  EXPECT_EQ(without([](Packet& p) { p.uid.reset(), p.destination_port = 81; }), Answer::kNo) << "whoever owns it";
}

TEST(Evaluate, WhetherAPacketTakesLoIsAlwaysKnown) {
  const Match lo{.interfaces = {"lo"}};
  Packet own = to("10.0.0.2");
  own.local = true;
  EXPECT_EQ(matches(lo, own, true), Answer::kYes);
  EXPECT_EQ(matches(lo, to("10.0.0.1"), true), Answer::kNo);
  EXPECT_EQ(matches(lo, from_elsewhere("10.0.0.2"), false), Answer::kNo);
  EXPECT_EQ(matches({.interfaces = {"eth1"}}, own, true), Answer::kNo);
  EXPECT_EQ(matches({.interfaces = {"eth1"}}, to("10.0.0.1"), true), Answer::kUnknown);
}

TEST(Evaluate, NatIsDecidedByAConnectionsFirstPacket) {
  const Plan plan = of({{Hook::kOutput, Purpose::kRedirect, {.protocol = Protocol::kTcp}, kToProxy}});
  Packet packet = to("10.0.0.1");
  for (const State state : {State::kEstablished, State::kInvalid}) {
    packet.state = state;
    EXPECT_EQ(evaluate(plan, packet).kind, OutcomeKind::kLeft);
    EXPECT_TRUE(evaluate(plan, packet).decided_before);
  }
  packet.state = State::kMidstream;
  EXPECT_EQ(evaluate(plan, packet).kind, OutcomeKind::kRedirected);
}

TEST(Evaluate, OtherHooksSeeEveryPacket) {
  const Plan plan =
      of({{Hook::kManglePrerouting,
           Purpose::kEstablished,
           {.tracked = Tracked::kEstablished},
           {Action::Kind::kDivert, 0, 0x539}},
          {Hook::kManglePrerouting, Purpose::kInvalid, {.tracked = Tracked::kInvalid}, {Action::Kind::kDrop}},
          {Hook::kManglePrerouting, Purpose::kRedirect, {.protocol = Protocol::kTcp}, kToSocket}});
  Packet packet = from_elsewhere("10.0.0.2");
  EXPECT_EQ(evaluate(plan, packet).kind, OutcomeKind::kTproxied);
  EXPECT_EQ(evaluate(plan, packet).port, 15006);
  EXPECT_EQ(evaluate(plan, packet).mark, 0x539U);
  packet.state = State::kEstablished;
  EXPECT_EQ(evaluate(plan, packet).kind, OutcomeKind::kDiverted);
  EXPECT_EQ(evaluate(plan, packet).mark, 0x539U);
  packet.state = State::kInvalid;
  EXPECT_EQ(evaluate(plan, packet).kind, OutcomeKind::kDropped);
}

TEST(Evaluate, WhatIsntFinalGoesOn) {
  const Plan plan = of({{Hook::kRawOutput, Purpose::kDnsZone, {.uids = {881}}, {Action::Kind::kZone, 0, 0, 1}},
                        {Hook::kRawOutput, Purpose::kDnsZone, {}, {Action::Kind::kZone, 0, 0, 2}},
                        {Hook::kMangleOutput,
                         Purpose::kReturnPath,
                         {.connection_marks = {{0x539, 0xffffffff}}},
                         {Action::Kind::kRestoreMark}},
                        {Hook::kOutput, Purpose::kRedirect, {}, kToProxy}});
  Packet packet = to("10.0.0.1", 53);
  packet.transport = Transport::kUdp;
  packet.uid = 881;
  packet.connection_mark = 0x539;
  const Outcome outcome = evaluate(plan, packet);
  EXPECT_EQ(outcome.zone, 1) << "the first zone counts";
  EXPECT_EQ(outcome.mark, 0x539U);
  EXPECT_EQ(outcome.kind, OutcomeKind::kRedirected);
  EXPECT_EQ(outcome.matched, (std::vector<std::size_t>{0, 1, 2, 3}));
}

// The proxy's call to its own host is marked on its way out, so that it's taken on its way in (TPROXY).
TEST(Evaluate, WhatAHostSendsToItselfGoesOutAndComesIn) {
  const Plan plan =
      of({{Hook::kMangleOutput,
           Purpose::kSelfCall,
           {.interfaces = {"lo"}, .uids = {882}},
           {Action::Kind::kMark, 0, 0x53a}},
          {Hook::kManglePrerouting, Purpose::kLoopback, {.interfaces = {"lo"}, .not_marks = {{0x53a, 0xffffffff}}}, {}},
          {Hook::kManglePrerouting, Purpose::kRedirect, {.protocol = Protocol::kTcp}, kToSocket},
          {Hook::kPrerouting, Purpose::kRedirect, {}, kToProxy}});
  Packet packet = to("10.0.0.2");
  packet.local = true;
  packet.uid = 882;
  EXPECT_EQ(evaluate(plan, packet).kind, OutcomeKind::kTproxied);
  EXPECT_TRUE(evaluate(plan, packet).second_lap);
  packet.uid = 1000;
  EXPECT_EQ(evaluate(plan, packet).kind, OutcomeKind::kLeft) << "NAT was decided on the way out";
  EXPECT_EQ(evaluate(plan, packet).rule, 1U);
}

TEST(Evaluate, WhatIsRedirectedComesInWithItsNewDestination) {
  const Plan plan = of({{Hook::kOutput, Purpose::kRedirect, {.protocol = Protocol::kTcp}, kToProxy},
                        {Hook::kManglePrerouting,
                         Purpose::kRedirect,
                         {.destinations = {parse_cidr("127.0.0.1").value(), parse_cidr("::1").value()},
                          .destination_ports = {{15001, 15001}}},
                         kToSocket}});
  for (const char* address : {"10.0.0.1", "fd00::1"}) {
    const Outcome outcome = evaluate(plan, to(address));
    EXPECT_EQ(outcome.matched, (std::vector<std::size_t>{0, 1}));
    EXPECT_TRUE(outcome.second_lap);
  }
}

TEST(Evaluate, AnAnswerThatTheRouteOfTproxyTakesComesIn) {
  const Plan plan = of({{Hook::kMangleOutput,
                         Purpose::kReturnPath,
                         {.connection_marks = {{0x539, 0xffffffff}}},
                         {Action::Kind::kRestoreMark}},
                        {Hook::kManglePrerouting, Purpose::kReturnPath, {.marks = {{0x539, 0xffffffff}}}, {}},
                        {Hook::kManglePrerouting, Purpose::kRedirect, {}, kToSocket}});
  Packet packet = to("10.0.0.9", 50000);
  packet.state = State::kEstablished;
  EXPECT_FALSE(evaluate(plan, packet).second_lap);
  packet.connection_mark = 0x539;
  const Outcome outcome = evaluate(plan, packet);
  EXPECT_TRUE(outcome.second_lap);
  EXPECT_EQ(outcome.kind, OutcomeKind::kLeft);
  EXPECT_EQ(outcome.mark, 0x539U);
}

TEST(Evaluate, RulesThatDependOnWhatIsntKnownAreNamed) {
  const Plan plan = of({{Hook::kOutput, Purpose::kExemptUser, {.uids = {882}}, {}},
                        {Hook::kOutput, Purpose::kRedirect, {.protocol = Protocol::kTcp}, kToProxy},
                        {Hook::kOutput, Purpose::kUserPort, {.uids = {7}}, {}}});
  EXPECT_EQ(evaluate(plan, to("10.0.0.1")).open, (std::vector<std::size_t>{0}));
  EXPECT_EQ(evaluate(plan, to("10.0.0.1")).kind, OutcomeKind::kRedirected);
}

// Whose it is isn't known of an entry of connection tracking: the proxy's call to its own host may be captured.
TEST(Evaluate, WhatOnlyItsOwnerKeepsFromBeingCapturedMayBe) {
  const Plan plan = of(
      {{Hook::kOutput, Purpose::kSelfCall, {.protocol = Protocol::kTcp, .interfaces = {"lo"}, .uids = {882}}, kToProxy},
       {Hook::kOutput, Purpose::kLoopback, {.interfaces = {"lo"}}, {}}});
  EXPECT_TRUE(may_capture(plan, {parse_cidr("10.0.0.2").value(), 50000, 80, true}));
  EXPECT_FALSE(may_capture(plan, {parse_cidr("10.0.0.1").value(), 50000, 80, false}));
}

}  // namespace
}  // namespace hawser::netfilter
