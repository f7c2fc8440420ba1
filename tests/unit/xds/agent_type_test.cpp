// SPDX-License-Identifier: Apache-2.0
// What the control plane tells the agent itself, between a real gRPC control plane and a real client.
#include <gmock/gmock.h>
#include <google/protobuf/any.pb.h>
#include <gtest/gtest.h>

#include <mutex>

#include "ads_client.h"
#include "ads_server.h"
#include "messages.h"
#include "relay_host.h"

namespace hawser::xds::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A resource's Any, as bytes.
std::string packed(std::string_view type, const std::string& value) {
  google::protobuf::Any any;
  any.set_type_url(std::string(type));
  any.set_value(value);
  return any.SerializeAsString();
}

std::string config_response(const std::string& nonce, const std::string& value) {
  return plane_response(kProxyConfigType, nonce, {{"", packed(kProxyConfigType, value)}});
}

class AgentTypeTest : public testing::Test {
 protected:
  void SetUp() override { host.start(upstream_to(plane.port(), certificates.root_pem)); }
  Relay::Options options() {
    Relay::Options out;
    out.proxy_config = [this](const std::string& config) -> hawser::Status {
      const std::lock_guard lock(mutex);
      taken.push_back(config);
      if (config == "bad") return Error(Code::kInvalidArgument, "HWS-TR-012", "no certificate found");
      return {};
    };
    return out;
  }
  std::vector<std::string> seen() {
    const std::lock_guard lock(mutex);
    return taken;
  }

  std::mutex mutex;
  std::vector<std::string> taken;
  TestCertificates certificates = make_certificates(kPlaneName);
  AdsServer plane{certificates};
  RelayHost host{options()};
};

TEST_F(AgentTypeTest, IsAskedForAsAWholeAfterTheListenersAndAcknowledged) {
  ASSERT_TRUE(plane.expect(kListenerType));
  const auto asked = plane.expect(kProxyConfigType);
  ASSERT_TRUE(asked);
  EXPECT_THAT(asked->request.subscribe, IsEmpty());
  EXPECT_TRUE(asked->request.nonce.empty());
  plane.push(config_response("n1", "roots"));
  const auto answer = plane.expect(kProxyConfigType);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->request.nonce, "n1");
  EXPECT_FALSE(answer->request.error_detail);
  EXPECT_THAT(seen(), ElementsAre("roots"));
}

TEST_F(AgentTypeTest, WhatIsOfNoUseIsRefusedWithTheReason) {
  ASSERT_TRUE(plane.expect(kProxyConfigType));
  plane.push(config_response("n1", "bad"));
  auto answer = plane.expect(kProxyConfigType);
  ASSERT_TRUE(answer && answer->request.error_detail);
  EXPECT_EQ(error_message(*answer->request.error_detail), "no certificate found");
  plane.push(plane_response(kProxyConfigType, "n2", {{"", packed(kClusterType, "roots")}}));
  answer = plane.expect(kProxyConfigType);
  ASSERT_TRUE(answer && answer->request.error_detail);
  plane.push(config_response("n3", std::string((1 << 20) + 1, 'x')));
  answer = plane.expect(kProxyConfigType);
  ASSERT_TRUE(answer && answer->request.error_detail) << "too large";
  EXPECT_THAT(seen(), ElementsAre("bad"));
}

TEST_F(AgentTypeTest, APlaneWithoutOneTakesNothingAndOneThatWithdrawsItIsHeard) {
  ASSERT_TRUE(plane.expect(kProxyConfigType));
  plane.push(plane_response(kProxyConfigType, "n1", {}));
  ASSERT_TRUE(plane.expect(kProxyConfigType));
  EXPECT_THAT(seen(), IsEmpty());
  plane.push(plane_response(kProxyConfigType, "n2", {}, {""}));
  ASSERT_TRUE(plane.expect(kProxyConfigType));
  EXPECT_THAT(seen(), ElementsAre(""));
}

TEST_F(AgentTypeTest, IsAskedForAgainOnTheNextStream) {
  ASSERT_TRUE(plane.expect(kProxyConfigType));
  plane.end(14, "restart");
  const auto again = plane.expect(kProxyConfigType);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->stream, 2);
  plane.push(config_response("n1", "roots"));
  ASSERT_TRUE(plane.expect(kProxyConfigType));
  EXPECT_THAT(seen(), ElementsAre("roots"));
}

TEST_F(AgentTypeTest, NeverReachesAProxy) {
  ASSERT_TRUE(plane.expect(kProxyConfigType));
  AdsClient proxy(host.target(), "f1e0");
  Request first = subscribe(kProxyConfigType);
  first.node = test_node();
  proxy.send(first);
  proxy.send(subscribe(kClusterType));
  plane.push(config_response("n1", "roots"));
  ASSERT_TRUE(plane.expect(kProxyConfigType));
  plane.push(plane_response(kClusterType, "n2", {{"a", "x"}}));
  const auto message = proxy.receive();
  ASSERT_TRUE(message);
  EXPECT_EQ(decoded(*message).type_url(), kClusterType);
}

}  // namespace
}  // namespace hawser::xds::test
