// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/node.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "envoy/config/core/v3/base.pb.h"
#include "sample.h"

namespace hawser::bootstrap {
namespace {

using nlohmann::ordered_json;

envoy::config::core::v3::Node decoded(const NodeOptions& options) {
  envoy::config::core::v3::Node node;
  EXPECT_TRUE(node.ParseFromString(node_bytes(options)));
  return node;
}

TEST(Node, IdHasTheFourPartsThatIstiodSplitsByTildes) {
  EXPECT_EQ(node_id(sample_node()), "sidecar~10.77.0.20~vm-1.bookinfo~bookinfo.svc.cluster.local");
}

TEST(Node, WithoutAHostnameTheWorkloadsNameStandsInTheId) {
  auto options = sample_node();
  options.hostname.clear();
  EXPECT_EQ(node_id(options), "sidecar~10.77.0.20~reviews-vm.bookinfo~bookinfo.svc.cluster.local");
  EXPECT_EQ(node_json(options)["metadata"]["NAME"], "reviews-vm");
}

TEST(Node, PortsAreNumbersAndListsAreStringsAsIstiodDecodesThem) {
  const auto metadata = node_json(sample_node())["metadata"];
  EXPECT_TRUE(metadata["ENVOY_STATUS_PORT"].is_number_unsigned() || metadata["ENVOY_STATUS_PORT"].is_number_integer());
  EXPECT_EQ(metadata["ENVOY_PROMETHEUS_PORT"], 15090);
  EXPECT_EQ(metadata["INSTANCE_IPS"], "10.77.0.20,fd77::20");
  EXPECT_TRUE(metadata["POD_PORTS"].is_string());
}

TEST(Node, NothingInTheMetadataIsABoolean) {
  auto options = sample_node();
  options.dns_capture = true;
  const auto metadata = node_json(options)["metadata"];
  for (const auto& [key, value] : metadata.items()) EXPECT_FALSE(value.is_boolean()) << key;
  EXPECT_EQ(metadata["DNS_CAPTURE"], "true");
}

TEST(Node, DnsCaptureIsNotToldWhileNothingAnswersDns) {
  EXPECT_FALSE(node_json(sample_node())["metadata"].contains("DNS_CAPTURE"));
}

TEST(Node, UnknownMetadataIsCarriedAndJsonMetadataBecomesAnObject) {
  const auto metadata = node_json(sample_node())["metadata"];
  EXPECT_EQ(metadata["MY_KEY"], "carried");
  EXPECT_EQ(metadata["ANNOTATIONS"]["team"], "blue");
}

TEST(Node, ExtraMetadataCannotReplaceTheIdentity) {
  auto options = sample_node();
  options.extra = {{"NAMESPACE", "kube-system"}, {"SERVICE_ACCOUNT", "admin"}, {"INSTANCE_IPS", "10.0.0.1"}};
  const auto metadata = node_json(options)["metadata"];
  EXPECT_EQ(metadata["NAMESPACE"], "bookinfo");
  EXPECT_EQ(metadata["SERVICE_ACCOUNT"], "reviews-sa");
  EXPECT_EQ(metadata["INSTANCE_IPS"], "10.77.0.20,fd77::20");
}

TEST(Node, APortInExtraMetadataBecomesANumberOrIsLeftOut) {
  auto options = sample_node();
  options.extra = {{"ENVOY_SECURE_METRICS_PORT", "15091"}, {"ENVOY_SECURE_MERGED_METRICS_PORT", "many"}};
  const auto metadata = node_json(options)["metadata"];
  EXPECT_EQ(metadata["ENVOY_SECURE_METRICS_PORT"], 15091);
  EXPECT_FALSE(metadata.contains("ENVOY_SECURE_MERGED_METRICS_PORT"));
}

TEST(Node, CanonicalLabelsAreAddedButNeverReplaced) {
  auto options = sample_node();
  EXPECT_EQ(node_json(options)["metadata"]["LABELS"]["service.istio.io/canonical-name"], "reviews-vm");
  EXPECT_EQ(node_json(options)["metadata"]["LABELS"]["service.istio.io/canonical-revision"], "v1");
  options.labels = {{"service.istio.io/canonical-name", "mine"}};
  EXPECT_EQ(node_json(options)["metadata"]["LABELS"]["service.istio.io/canonical-name"], "mine");
  EXPECT_EQ(node_json(options)["metadata"]["LABELS"]["service.istio.io/canonical-revision"], "latest");
}

TEST(Node, TheProgramsProbeIsTold) {
  EXPECT_EQ(node_json(sample_node())["metadata"]["PROXY_CONFIG"]["readinessProbe"]["httpGet"]["port"], 9080);
}

TEST(Node, WithoutAProbeTheProxysReadinessIsToldSoThatHealthStillCounts) {
  for (const char* text : {"", "not JSON", "[]"}) {
    auto options = sample_node();
    options.readiness_probe = text;
    EXPECT_EQ(node_json(options)["metadata"]["PROXY_CONFIG"]["readinessProbe"]["httpGet"]["path"], "/healthz/ready")
        << text;
  }
}

TEST(Node, LocalityHasAsManyPartsAsAreConfigured) {
  auto options = sample_node();
  EXPECT_EQ(node_json(options)["locality"],
            ordered_json({{"region", "europe-west1"}, {"zone", "b"}, {"sub_zone", "rack7"}}));
  options.locality = "europe-west1";
  EXPECT_EQ(node_json(options)["locality"], ordered_json({{"region", "europe-west1"}}));
  options.locality.clear();
  EXPECT_FALSE(node_json(options).contains("locality"));
}

TEST(NodeBytes, SayWhatTheJsonSays) {
  const auto node = decoded(sample_node());
  EXPECT_EQ(node.id(), node_id(sample_node()));
  EXPECT_EQ(node.locality().sub_zone(), "rack7");
  const auto& fields = node.metadata().fields();
  EXPECT_EQ(fields.at("AUTO_REGISTER_GROUP").string_value(), "reviews-vm");
  EXPECT_EQ(fields.at("ENVOY_STATUS_PORT").number_value(), 15021);
  EXPECT_EQ(fields.at("LABELS").struct_value().fields().at("app").string_value(), "reviews");
  EXPECT_EQ(fields.size(), static_cast<std::size_t>(node_json(sample_node())["metadata"].size()));
}

TEST(NodeBytes, AreTheSameForTheSameNode) {
  EXPECT_EQ(node_bytes(sample_node()), node_bytes(sample_node()));
}

TEST(NodeBytes, TextThatIsNoUtf8IsRepaired) {
  auto options = sample_node();
  options.labels["app"] = "caf\xe9";
  const auto node = decoded(options);
  EXPECT_EQ(node.metadata().fields().at("LABELS").struct_value().fields().at("app").string_value(), "caf\xef\xbf\xbd");
}

}  // namespace
}  // namespace hawser::bootstrap
