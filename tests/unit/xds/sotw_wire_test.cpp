// SPDX-License-Identifier: Apache-2.0
#include "xds/sotw_wire.h"

#include <gtest/gtest.h>

#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/types.h"

namespace hawser::xds::test {
namespace {

using envoy::config::core::v3::Node;
using envoy::service::discovery::v3::DiscoveryRequest;

Node node(const std::string& id, const std::map<std::string, std::string>& metadata) {
  Node out;
  out.set_id(id);
  for (const auto& [key, value] : metadata) (*out.mutable_metadata()->mutable_fields())[key].set_string_value(value);
  return out;
}

std::string text(const Node& node, const std::string& key) {
  const auto& fields = node.metadata().fields();
  return fields.contains(key) ? fields.at(key).string_value() : "absent";
}

DiscoveryRequest request() {
  DiscoveryRequest out;
  out.set_version_info("7");
  *out.mutable_node() = node("client", {{"GENERATOR", "grpc"}});
  out.add_resource_names("a");
  out.add_resource_names("b");
  out.set_type_url(std::string(kListenerType));
  out.set_response_nonce("n");
  out.mutable_error_detail()->set_message("no");
  return out;
}

TEST(SotwWire, TypeAndNodeAreFoundWhereverTheyStand) {
  const auto head = scan_sotw_request(request().SerializeAsString());
  ASSERT_TRUE(head);
  EXPECT_EQ(head->type_url, kListenerType);
  EXPECT_EQ(head->node, request().node().SerializeAsString());
}

TEST(SotwWire, BytesThatAreNoRequestAreRefused) {
  for (const std::string& bytes : {std::string("\xff"), std::string("\x22\x7fshort"), std::string(),
                                   std::string("\x1a\x01x"), std::string("\x22\xff\xff\xff\xff\x0f")}) {
    const auto head = scan_sotw_request(bytes);
    ASSERT_FALSE(head);
    EXPECT_EQ(head.error().id(), "HWS-XDS-030");
  }
}

TEST(SotwWire, OnlyTheNodeIsReplacedAndUnknownFieldsSurvive) {
  const Node ours = node("host", {{"NAMESPACE", "demo"}});
  // Field 7, resource_locators, isn't in our subset.
  const std::string bytes = request().SerializeAsString() + "\x3a\x03xyz";
  const std::string out = with_node(bytes, ours.SerializeAsString());
  DiscoveryRequest parsed;
  ASSERT_TRUE(parsed.ParseFromString(out));
  EXPECT_EQ(parsed.node().SerializeAsString(), ours.SerializeAsString());
  EXPECT_NE(out.find("\x3a\x03xyz"), std::string::npos);
  *parsed.mutable_node() = request().node();
  EXPECT_EQ(parsed.resource_names_size(), 2);
  EXPECT_EQ(parsed.version_info() + parsed.response_nonce() + parsed.error_detail().message(), "7nno");
}

TEST(SotwWire, TheHostsIdentityStandsOverWhatTheClientSaysOfItself) {
  const Node host = node("sidecar~10.0.0.1~vm.demo~demo.svc", {{"NAMESPACE", "demo"}, {"AUTO_REGISTER_GROUP", "vm"}});
  const Node client = node("me", {{"NAMESPACE", "kube-system"}, {"GENERATOR", "grpc"}, {"AUTO_REGISTER_GROUP", "x"}});
  // Field 6, user_agent_name, isn't in our subset.
  Node out;
  ASSERT_TRUE(
      out.ParseFromString(node_for_client(host.SerializeAsString(), client.SerializeAsString() + "\x32\x04gRPC")));
  EXPECT_EQ(out.id(), host.id());
  EXPECT_EQ(text(out, "NAMESPACE"), "demo");
  EXPECT_EQ(text(out, "GENERATOR"), "grpc");
  EXPECT_EQ(text(out, "AUTO_REGISTER_GROUP"), "absent") << "a client's stream would register the host a second time";
  EXPECT_NE(out.SerializeAsString().find("gRPC"), std::string::npos);
}

TEST(SotwWire, AClientWithoutANodeGetsTheHosts) {
  const Node host = node("sidecar~10.0.0.1~vm.demo~demo.svc", {{"NAMESPACE", "demo"}, {"AUTO_REGISTER_GROUP", "vm"}});
  for (const std::string& theirs : {std::string(), std::string("\xff")}) {
    Node out;
    ASSERT_TRUE(out.ParseFromString(node_for_client(host.SerializeAsString(), theirs)));
    EXPECT_EQ(out.id(), host.id());
    EXPECT_EQ(text(out, "AUTO_REGISTER_GROUP"), "absent");
  }
}

}  // namespace
}  // namespace hawser::xds::test
