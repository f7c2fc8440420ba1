// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/intent_proto.h"

#include <gtest/gtest.h>

#include "broker/failure.h"
#include "hawser/broker.pb.h"

namespace hawser::broker {
namespace {

TEST(IntentProto, EveryFieldSurvivesTheWayThereAndBack) {
  netfilter::Intent intent;
  intent.outbound_port = 1;
  intent.inbound_port = 2;
  intent.capture_outbound = false;
  intent.capture_inbound = true;
  intent.ipv4 = false;
  intent.ipv6 = true;
  intent.inbound_ports = {{3, 4}};
  intent.inbound_exclude = {{5, 6}, {7, 8}};
  intent.outbound_exclude = {{9, 10}};
  intent.outbound_exclude_cidrs = {"10.0.0.0/8"};
  intent.exempt_uids = {11, 12};
  intent.exempt_gids = {13};
  intent.never = {{"10.0.0.1", 14}};
  v1::Intent proto;
  to_proto(intent, proto);
  const netfilter::Intent back = to_intent(proto);
  v1::Intent again;
  to_proto(back, again);
  EXPECT_EQ(proto.SerializeAsString(), again.SerializeAsString());
  EXPECT_EQ(back.outbound_port, 1U);
  EXPECT_EQ(back.inbound_port, 2U);
  EXPECT_FALSE(back.capture_outbound);
  EXPECT_TRUE(back.capture_inbound);
  EXPECT_FALSE(back.ipv4);
  EXPECT_TRUE(back.ipv6);
  EXPECT_EQ(back.inbound_ports, intent.inbound_ports);
  EXPECT_EQ(back.inbound_exclude, intent.inbound_exclude);
  EXPECT_EQ(back.outbound_exclude, intent.outbound_exclude);
  EXPECT_EQ(back.outbound_exclude_cidrs, intent.outbound_exclude_cidrs);
  EXPECT_EQ(back.exempt_uids, intent.exempt_uids);
  EXPECT_EQ(back.exempt_gids, intent.exempt_gids);
  ASSERT_EQ(back.never.size(), 1U);
  EXPECT_EQ(back.never[0].address, "10.0.0.1");
  EXPECT_EQ(back.never[0].port, 14U);
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
