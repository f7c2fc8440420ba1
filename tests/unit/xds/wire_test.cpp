// SPDX-License-Identifier: Apache-2.0
#include "xds/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "messages.h"

namespace hawser::xds::test {
namespace {

using google::protobuf::io::ArrayInputStream;
using testing::ElementsAre;

TEST(Wire, ScansTypeAndNonceAcrossBlocksOfAnySize) {
  const std::string bytes = plane_response(kClusterType, "n7", {{"a", std::string(1000, 'x')}, {"b", "y"}}, {"gone"});
  for (const int block : {1, 2, 3, 7, 64, 4096}) {
    ArrayInputStream head(bytes.data(), static_cast<int>(bytes.size()), block);
    const auto envelope = scan_envelope(head);
    ASSERT_TRUE(envelope);
    EXPECT_EQ(envelope->type_url, kClusterType);
    EXPECT_EQ(envelope->nonce, "n7");
    ArrayInputStream all(bytes.data(), static_cast<int>(bytes.size()), block);
    const auto response = parse_response(all);
    ASSERT_TRUE(response);
    ASSERT_EQ(response->resources.size(), 2u);
    EXPECT_EQ(response->resources[0].name, "a");
    EXPECT_THAT(response->removed, ElementsAre("gone"));
  }
}

TEST(Wire, KeepsWhatItDoesntKnowOfAResourceAndReplacesOnlyItsVersion) {
  // Resource{version "1", resource "body", name "n", aliases(4) "alias", ttl(6) {seconds: 5}, unknown fixed32 and
  // varint}.
  const std::string resource = std::string("\x0a\x01") + "1" + "\x12\x04" + "body" + "\x1a\x01n" + "\x22\x05" +
                               "alias" + "\x32\x02\x08\x05" + "\x7d\x01\x02\x03\x04" + "\x78\x96\x01";
  const std::string bytes =
      "\x12" + std::string(1, static_cast<char>(resource.size())) + resource + plane_response("t", "n", {});
  const Response response = parsed(bytes);
  ASSERT_EQ(response.resources.size(), 1u);
  EXPECT_EQ(response.resources[0].version, "1");
  EXPECT_FALSE(response.resources[0].heartbeat);
  EXPECT_EQ(response.resources[0].body, resource.substr(3));

  ResponseBuilder builder("t");
  builder.add("hash", response.resources[0].body);
  const auto rebuilt = decoded(builder.finish("h1"));
  ASSERT_EQ(rebuilt.resources_size(), 1);
  EXPECT_EQ(rebuilt.resources(0).version(), "hash");
  EXPECT_EQ(rebuilt.resources(0).resource(), "body");
  EXPECT_NE(rebuilt.resources(0).SerializeAsString().find("alias"), std::string::npos);
}

TEST(Wire, FindsAResourcesVersionWhereverItStandsAndTakesTheLast) {
  // name "n", version "1", resource "body", version "22", aliases(4) "alias".
  const std::string resource =
      std::string("\x1a\x01n") + "\x0a\x01" + "1" + "\x12\x04" + "body" + "\x0a\x02" + "22" + "\x22\x05" + "alias";
  const std::string bytes =
      "\x12" + std::string(1, static_cast<char>(resource.size())) + resource + plane_response("t", "n", {});
  const Response response = parsed(bytes);
  ASSERT_EQ(response.resources.size(), 1u);
  EXPECT_EQ(response.resources[0].name, "n");
  EXPECT_EQ(response.resources[0].version, "22");
  EXPECT_EQ(response.resources[0].body, std::string("\x1a\x01n") + "\x12\x04" + "body" + "\x22\x05" + "alias");
}

TEST(Wire, AResourceThatIsCutOffBetweenItsFieldsIsntAShorterOne) {
  const std::string bytes = plane_response("t", "n", {}) + std::string("\x12\x0a\x1a\x01") + "a";
  ArrayInputStream input(bytes.data(), static_cast<int>(bytes.size()));
  EXPECT_FALSE(parse_response(input));
}

TEST(Wire, AResourceWithoutBodyIsAHeartbeat) {
  DeltaDiscoveryResponse message;
  message.set_type_url("t");
  message.add_resources()->set_name("n");
  EXPECT_TRUE(parsed(message.SerializeAsString()).resources.at(0).heartbeat);
}

TEST(Wire, RefusesGarbageAndTruncationWithoutReadingPastTheEnd) {
  const std::string whole = plane_response(kClusterType, "n", {{"a", std::string(300, 'x')}}, {"r"});
  std::size_t refused = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    ArrayInputStream input(whole.data(), static_cast<int>(size), 5);
    refused += parse_response(input) ? 0u : 1u;
  }
  EXPECT_GT(refused, whole.size() / 2);

  std::mt19937 random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::string noisy = whole;
    for (int flips = 0; flips < 4; ++flips) noisy[random() % noisy.size()] = static_cast<char>(random());
    ArrayInputStream input(noisy.data(), static_cast<int>(noisy.size()), 11);
    (void)parse_response(input);
    ArrayInputStream head(noisy.data(), static_cast<int>(noisy.size()), 11);
    (void)scan_envelope(head);
  }
  const auto garbage = parse_request("\xff\xff");
  ASSERT_FALSE(garbage);
  EXPECT_EQ(garbage.error().id(), "HWS-XDS-011");
}

TEST(Wire, RequestsSurviveTheRoundTrip) {
  Request request = nack(kRouteType, "n3", "no such cluster");
  request.subscribe = {"a", "b"};
  request.unsubscribe = {"c"};
  request.initial_versions = {{"a", "1"}, {"b", ""}};
  envoy::config::core::v3::Node node;
  node.set_id("sidecar~10.0.0.1~vm.ns~ns.svc.cluster.local");
  request.node = node.SerializeAsString();
  const auto back = parse_request(build_request(request));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->type_url, kRouteType);
  EXPECT_EQ(back->subscribe, request.subscribe);
  EXPECT_EQ(back->unsubscribe, request.unsubscribe);
  EXPECT_EQ(back->initial_versions, request.initial_versions);
  EXPECT_EQ(back->nonce, "n3");
  EXPECT_EQ(back->node, request.node);
  EXPECT_EQ(error_message(*back->error_detail), "no such cluster");
}

TEST(Wire, NodesAreComparedWithoutWhatOnlyTheProxyFillsIn) {
  envoy::config::core::v3::Node ours;
  ours.set_id("vm");
  (*ours.mutable_metadata()->mutable_fields())["NAMESPACE"].set_string_value("default");
  (*ours.mutable_metadata()->mutable_fields())["APP"].set_string_value("web");
  const std::string bare = ours.SerializeAsString();
  // user_agent_name is field 6, which isn't in our subset.
  const std::string from_envoy = bare + "\x32\x05" + "envoy";
  EXPECT_EQ(node_identity(bare), node_identity(from_envoy));
  ours.mutable_locality()->set_zone("z1");
  EXPECT_NE(node_identity(bare), node_identity(ours.SerializeAsString()));
  EXPECT_FALSE(node_identity("\xff"));
}

TEST(Types, ReachTheProxyInTheOrderOfTheirReferences) {
  const TypeOrder before;
  EXPECT_TRUE(before(kClusterType, kEndpointType));
  EXPECT_TRUE(before(kEndpointType, kListenerType));
  EXPECT_TRUE(before(kListenerType, kRouteType));
  EXPECT_TRUE(before(kRouteType, "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"));
  EXPECT_FALSE(before(kClusterType, kClusterType));
}

TEST(Types, MeantForTheAgentNeverReachTheProxy) {
  EXPECT_TRUE(forwardable(kClusterType));
  EXPECT_TRUE(forwardable(kWorkloadType));
  EXPECT_FALSE(forwardable("type.googleapis.com/istio.networking.nds.v1.NameTable"));
  EXPECT_FALSE(forwardable(kHealthType));
  EXPECT_FALSE(forwardable("istio.io/debug"));
  EXPECT_EQ(short_name(kEndpointType), "ClusterLoadAssignment");
}

}  // namespace
}  // namespace hawser::xds::test
