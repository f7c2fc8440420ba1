// SPDX-License-Identifier: Apache-2.0
// Questions to the control plane, and holding back, through the whole relay.
#include <gmock/gmock.h>
#include <google/protobuf/any.pb.h>
#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>

#include "ads_client.h"
#include "ads_server.h"
#include "envoy/service/status/v3/csds.pb.h"
#include "messages.h"
#include "relay_host.h"
#include "xds/debug_queries.h"
#include "xds/debug_wire.h"

namespace hawser::xds::test {
namespace {

using namespace std::chrono_literals;
using envoy::service::discovery::v3::DiscoveryRequest;
using envoy::service::discovery::v3::DiscoveryResponse;
using nlohmann::json;
using testing::HasSubstr;

std::string answer(const std::string& type, const std::string& any_type, const std::string& value) {
  google::protobuf::Any any;
  any.set_type_url(any_type);
  any.set_value(value);
  DiscoveryResponse out;
  out.set_type_url(type);
  out.set_nonce("n");
  out.add_resources(any.SerializeAsString());
  return out.SerializeAsString();
}

TEST(DebugWire, SynczIsATypeOfItsOwnAndTheRestArePagesOfAProxy) {
  const auto syncz = make_debug_request({"syncz", ""}, test_node("demo"));
  ASSERT_TRUE(syncz);
  EXPECT_EQ(syncz->type_url, "istio.io/debug/syncz");
  EXPECT_EQ(decoded_request(syncz->bytes).resource_names_size(), 0);
  const auto edsz = make_debug_request({"istio.io/debug/edsz", ""}, test_node("demo"));
  ASSERT_TRUE(edsz);
  EXPECT_EQ(edsz->type_url, "istio.io/debug");
  EXPECT_EQ(edsz->name, "edsz?proxyID=vm.demo") << "this host's own, unless told otherwise";
  EXPECT_EQ(make_debug_request({"edsz", "other.demo"}, test_node("demo"))->name, "edsz?proxyID=other.demo");
  EXPECT_EQ(make_debug_request({"config_dump", "proxyID=a.b&types=LDS"}, test_node("demo"))->name,
            "config_dump?proxyID=a.b&types=LDS");
}

TEST(DebugWire, TheAskingStreamIsNoProxyOfTheSameName) {
  const auto node = decoded_request(make_debug_request({"edsz", ""}, test_node("demo"))->bytes).node();
  EXPECT_EQ(node.id(), "sidecar~10.0.0.1~hawser-debug.demo~demo.svc.cluster.local");
  EXPECT_EQ(node.metadata().fields().at("NAMESPACE").string_value(), "demo");
  EXPECT_EQ(node.metadata().fields_size(), 1);
}

TEST(DebugWire, WhatCantBeAQuestionIsRefused) {
  for (const DebugQuestion& wrong : {DebugQuestion{"", ""}, DebugQuestion{"a b", ""}, DebugQuestion{"edsz?x=y", ""},
                                     DebugQuestion{"edsz", "a\nb"}, DebugQuestion{std::string(2000, 'x'), ""}}) {
    const auto made = make_debug_request(wrong, test_node("demo"));
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().id(), "HWS-XDS-033");
  }
  EXPECT_EQ(make_debug_request({"edsz", ""}, "").error().code(), Code::kFailedPrecondition);
}

json shown(const std::string& any_type, const std::string& value) {
  const DebugQuestion question{"edsz", ""};
  const auto request = make_debug_request(question, test_node("demo")).value();
  return json::parse(debug_json(question, request, answer("istio.io/debug", any_type, value)).value())["resources"][0];
}

TEST(DebugWire, AnswersAreShownAsWhatTheyAre) {
  EXPECT_EQ(shown("istio.io/debug", R"({"a": [1]})"), json::parse(R"({"a": [1]})"));
  EXPECT_EQ(shown("istio.io/debug", "Proxy not connected\n")["text"], "Proxy not connected\n");
  EXPECT_EQ(shown("some.Message", std::string("\x00\xff\x01", 3))["base64"], "AP8B");
  EXPECT_EQ(shown("some.Message", std::string("\xff\xfe", 2))["base64"], "//4=");
  EXPECT_EQ(shown("some.Message", std::string("\xff", 1))["base64"], "/w==");
}

TEST(DebugWire, SynczIsReadableAndCanBeNarrowedToOneProxy) {
  DiscoveryResponse response;
  for (const char* proxy : {"vm.demo", "other.demo"}) {
    envoy::service::status::v3::ClientConfig config;
    config.mutable_node()->set_id(proxy);
    auto& type = *config.add_generic_xds_configs();
    type.set_type_url(std::string(kClusterType));
    type.set_config_status(envoy::service::status::v3::STALE);
    type.mutable_error_state()->set_details("no such cluster");
    google::protobuf::Any any;
    any.set_type_url("type.googleapis.com/envoy.service.status.v3.ClientConfig");
    any.set_value(config.SerializeAsString());
    response.add_resources(any.SerializeAsString());
  }
  const DebugQuestion all{"syncz", ""};
  const auto both = json::parse(
      debug_json(all, make_debug_request(all, test_node("demo")).value(), response.SerializeAsString()).value());
  EXPECT_EQ(both["resources"].size(), 2u);
  EXPECT_EQ(both["resources"][0]["types"][0]["status"], "STALE");
  EXPECT_EQ(both["resources"][0]["types"][0]["error"], "no such cluster");
  const DebugQuestion one{"syncz", "other.demo"};
  const auto narrowed = json::parse(
      debug_json(one, make_debug_request(one, test_node("demo")).value(), response.SerializeAsString()).value());
  ASSERT_EQ(narrowed["resources"].size(), 1u);
  EXPECT_EQ(narrowed["resources"][0]["proxy"], "other.demo");
}

TEST(DebugWire, AnAnswerThatIsTooLargeOrNoneIsAnError) {
  const DebugQuestion question{"edsz", ""};
  const auto request = make_debug_request(question, test_node("demo")).value();
  const auto large = answer("istio.io/debug", "istio.io/debug", std::string(std::size_t{4} << 20, 'x'));
  EXPECT_EQ(debug_json(question, request, large).error().id(), "HWS-XDS-033");
  EXPECT_EQ(debug_json(question, request, "\xff").error().id(), "HWS-XDS-033");
}

class RelayJobsTest : public testing::Test {
 protected:
  void SetUp() override {
    UpstreamOptions options = upstream_to(plane.port(), certificates.root_pem);
    host.start(options);
    ASSERT_TRUE(plane.wait_streams(1));
  }
  std::future<Result<std::string>> ask(const std::string& type, std::chrono::milliseconds timeout = 10s) {
    auto promise = std::make_shared<std::promise<Result<std::string>>>();
    host.call([&] {
      host.relay().debug({type, ""}, timeout,
                         [promise](Result<std::string> got) { promise->set_value(std::move(got)); });
    });
    return promise->get_future();
  }
  Result<std::size_t> hold(const std::string& generation, Loop::Duration time, Hold::What what = Hold::What::kUpdates) {
    std::promise<Result<std::size_t>> promise;
    host.call([&] {
      host.relay().hold(generation, what, time, "a test", [&](Result<std::size_t> got) { promise.set_value(got); });
    });
    return promise.get_future().get();
  }
  Status release(const std::string& generation) {
    std::promise<Status> promise;
    host.call([&] { host.relay().release(generation, [&](Status got) { promise.set_value(std::move(got)); }); });
    return promise.get_future().get();
  }

  TestCertificates certificates = make_certificates(kPlaneName);
  AdsServer plane{certificates};
  RelayHost host;
};

TEST_F(RelayJobsTest, AQuestionIsAskedOnAStreamOfItsOwnThatEndsWithTheAnswer) {
  auto asked = ask("edsz");
  const auto seen = plane.expect_sotw();
  ASSERT_TRUE(seen);
  EXPECT_EQ(decoded_request(seen->bytes).resource_names(0), "edsz?proxyID=vm.default");
  plane.push_to(seen->stream, answer("istio.io/debug", "istio.io/debug", R"({"endpoints": 3})"));
  const auto got = asked.get();
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_EQ(json::parse(*got)["resources"][0]["endpoints"], 3);
  EXPECT_TRUE(plane.wait_gone(seen->stream));
  EXPECT_EQ(plane.streams(), 2) << "the host's own stream goes on";
}

TEST_F(RelayJobsTest, ARefusalSaysWhatIstiodAllows) {
  auto asked = ask("registryz");
  const auto seen = plane.expect_sotw();
  ASSERT_TRUE(seen);
  plane.end_stream(seen->stream, 7, "the debug info is not available for current identity");
  const auto got = asked.get();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().id(), "HWS-XDS-034");
  EXPECT_THAT(got.error().to_string(), HasSubstr("current identity"));
}

TEST_F(RelayJobsTest, ASilentPlaneIsGivenUpAndQuestionsAreBounded) {
  EXPECT_EQ(ask("edsz", 50ms).get().error().id(), "HWS-XDS-035");
  std::vector<std::future<Result<std::string>>> open;
  for (std::size_t i = 0; i < DebugQueries::kMaxQueries; ++i) open.push_back(ask("edsz", 1s));
  EXPECT_EQ(ask("edsz").get().error().id(), "HWS-XDS-035") << "too many at once";
  for (auto& each : open) EXPECT_FALSE(each.get());
}

TEST_F(RelayJobsTest, AHoldKeepsOneGenerationBackWhileTheOtherGetsThePlanesMessages) {
  host.call([&] { host.relay().set_serving("f1e0"); });
  AdsClient serving(host.target(), "f1e0");
  AdsClient held(host.target(), "f2e0");
  for (auto* client : {&serving, &held}) {
    client->send(subscribe(kClusterType));
    // By then the relay knows of both.
    client->send(subscribe(kEndpointType, {client == &held ? "b" : "a"}));
    ASSERT_TRUE(plane.expect(kEndpointType));
  }
  EXPECT_EQ(hold("f2e0", 60s).value(), 1u);
  const auto update = plane_response(kClusterType, "n1", {{"c", "x"}});
  plane.push(update);
  EXPECT_EQ(serving.receive(), update);
  EXPECT_FALSE(held.receive(100ms));
  const auto status = host.status();
  ASSERT_EQ(status.holds.size(), 1u);
  EXPECT_EQ(status.holds[0].generation + " " + status.holds[0].what + " " + status.holds[0].reason,
            "f2e0 updates a test");
  EXPECT_TRUE(release("f2e0"));
  EXPECT_EQ(decoded(held.receive().value_or("")).resources_size(), 1);
  EXPECT_EQ(release("f2e0").error().id(), "HWS-XDS-032");
  EXPECT_THAT(host.metrics(), HasSubstr("hawser_xds_holds_ended_total{how=\"released\"} 1"));
}

TEST_F(RelayJobsTest, AHoldEndsByItselfWhenItsTimeIsOver) {
  AdsClient envoy(host.target(), "f1e0");
  envoy.send(subscribe(kClusterType));
  ASSERT_TRUE(host.wait([](const auto& status) { return status.downstreams == 1; }));
  ASSERT_TRUE(hold("f1e0", 1500ms));
  plane.push(plane_response(kClusterType, "n1", {{"c", "x"}}));
  EXPECT_FALSE(envoy.receive(50ms));
  EXPECT_EQ(decoded(envoy.receive().value_or("")).resources_size(), 1) << "nobody released it";
  EXPECT_TRUE(host.wait([](const auto& status) { return status.holds.empty(); }));
  EXPECT_THAT(host.metrics(), HasSubstr("hawser_xds_holds_ended_total{how=\"expired\"} 1"));
}

}  // namespace
}  // namespace hawser::xds::test
