// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/intent_proto.h"

#include <gtest/gtest.h>

#include "broker/failure.h"
#include "hawser/broker.pb.h"

namespace hawser::broker {
namespace {

// Each field has a value that is not its default.
netfilter::Intent full() {
  netfilter::Intent intent;
  intent.outbound_port = 1;
  intent.inbound_port = 2;
  intent.capture_outbound = false;
  intent.capture_inbound = false;
  intent.ipv4 = false;
  intent.ipv6 = true;
  intent.refuse = true;
  intent.inbound_mode = netfilter::InboundMode::kTproxy;
  intent.tproxy = {40, 0xff, 41};
  intent.inbound_ports = {{3, 4}};
  intent.services = {{"web", {{80, 81}}}, {"rpc", {{90, 90}, {92, 93}}}};
  intent.inbound_exclude = {{5, 6}, {7, 8}};
  intent.hbone_port = 15008;
  intent.drop_invalid = true;
  intent.outbound_ports = {{15, 16}};
  intent.outbound_cidrs = {"fd00::/8", "172.16.0.0/12"};
  intent.outbound_exclude = {{9, 10}};
  intent.outbound_exclude_cidrs = {"10.0.0.0/8"};
  intent.exempt_uids = {11, 12, {40, 49}};
  intent.exempt_gids = {13};
  intent.exempt_cgroups = {"system.slice/a.service"};
  intent.exempt_marks = {{0x500, 0xf00}};
  intent.groups_include = {17};
  intent.groups_exclude = {18, 19};
  intent.user_ports = {{{20}, {{21, 22}}, netfilter::Protocol::kUdp},
                       {{23, 24}, {}, netfilter::Protocol::kTcp},
                       {{25, {60, 69}}, {{26, 26}}, netfilter::Protocol::kAny}};
  intent.exclude_interfaces = {"eth1", "docker*"};
  intent.self_call = false;
  intent.proxy = {{27, {50, 51}}, {28}, {"hawser.slice"}, {{29, 30}}};
  intent.dns = {
      netfilter::Dns::Capture::kResolvers, 53535, false, true, {{31}, {32}, {"a"}, {{33, 34}}}, {"127.0.0.53"},
      {{35}, {36}, {"b"}, {{37, 38}}}};
  intent.never = {{"10.0.0.1", 14}};
  intent.own_probes = {{"10.0.0.2", 39}};
  intent.probe_uid = 881;
  return intent;
}

TEST(IntentProto, EveryFieldSurvivesTheWayThereAndBack) {
  v1::Intent proto;
  to_proto(full(), proto);
  v1::Intent received;
  ASSERT_TRUE(received.ParseFromString(proto.SerializeAsString()));
  const netfilter::Intent back = to_intent(received);
  EXPECT_TRUE(back == full());
  v1::Intent again;
  to_proto(back, again);
  EXPECT_EQ(proto.SerializeAsString(), again.SerializeAsString());
}

TEST(IntentProto, WhatAnOlderSenderDoesNotSayKeepsItsDefault) {
  const netfilter::Intent back = to_intent(v1::Intent{});
  EXPECT_EQ(back.inbound_mode, netfilter::InboundMode::kRedirect);
  EXPECT_EQ(back.tproxy, netfilter::Tproxy{});
  EXPECT_EQ(back.dns, netfilter::Dns{});
  EXPECT_TRUE(back.proxy.empty());
}

TEST(Failure, AnErrorSurvivesWithItsCauses) {
  Error error(Code::kAborted, "HWS-XX-001", "outer", "do this");
  error.because(Error(Code::kInternal, "HWS-XX-002", "inner"));
  v1::Failure proto;
  to_proto(error, proto);
  const Error back = to_error(proto);
  EXPECT_EQ(back.code(), Code::kAborted);
  EXPECT_EQ(back.id(), "HWS-XX-001");
  EXPECT_EQ(back.message(), "outer: inner");
  EXPECT_EQ(back.hint(), "do this");
}

TEST(Failure, AnUnknownCodeIsUnknown) {
  v1::Failure proto;
  proto.set_code(99);
  EXPECT_EQ(to_error(proto).code(), Code::kUnknown);
  proto.set_code(0);
  EXPECT_EQ(to_error(proto).code(), Code::kUnknown);
}

}  // namespace
}  // namespace hawser::broker
