// SPDX-License-Identifier: Apache-2.0
#include "xds/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "messages.h"

namespace hawser::xds::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

class HubTest : public testing::Test {
 protected:
  HubTest() { hub.upstream_opened(); }

  std::vector<Request> upstream() {
    std::vector<Request> out;
    while (auto request = hub.next_upstream()) out.push_back(std::move(*request));
    return out;
  }
  // As the core does it, for a proxy that isn't busy. Says who got the message itself.
  std::optional<Hub::Id> plane(std::string_view type, const std::string& nonce,
                               const std::map<std::string, std::string>& resources,
                               const std::vector<std::string>& removed = {}) {
    Response response = parsed(plane_response(type, nonce, resources, removed, "v"));
    const auto target = hub.forward_to(response.envelope);
    hub.ingest(std::move(response), target, now);
    return target;
  }
  // As the core does it: what the request makes due is sent before the next event. Keeps it for next().
  void request(Hub::Id id, const Request& r) {
    ASSERT_TRUE(hub.on_request(id, r, now));
    while (auto message = hub.next_for(id, now)) sent[id].push_back(decoded(message->bytes));
  }
  DeltaDiscoveryResponse next(Hub::Id id) {
    if (!sent[id].empty()) {
      auto first = sent[id].front();
      sent[id].erase(sent[id].begin());
      return first;
    }
    const auto message = hub.next_for(id, now);
    return message ? decoded(message->bytes) : DeltaDiscoveryResponse();
  }
  void drain(Hub::Id id) {
    sent[id].clear();
    while (hub.next_for(id, now)) {
    }
  }

  Hub hub{{kClusters, kListeners}};
  Loop::Monotonic now{};
  std::map<Hub::Id, std::vector<DeltaDiscoveryResponse>> sent;
};

TEST_F(HubTest, AsksForClustersAndListenersBeforeAnyProxyIsThereAndAnswersItself) {
  const auto requests = upstream();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].type_url, kClusters);
  EXPECT_EQ(requests[1].type_url, kListeners);
  EXPECT_FALSE(plane(kClusters, "n1", {{"c", "x"}}));
  const auto answers = upstream();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].nonce, "n1");
  EXPECT_FALSE(answers[0].error_detail);
}

TEST_F(HubTest, TheServingProxyGetsThePlanesMessageAndItsAnswerGoesUpstream) {
  (void)upstream();
  hub.open(1, "f1e0", now);
  request(1, subscribe(kClusters));
  EXPECT_EQ(plane(kClusters, "n1", {{"c", "x"}}), 1u);
  EXPECT_THAT(upstream(), IsEmpty()) << "the proxy answers, not we";
  EXPECT_FALSE(hub.next_for(1, now)) << "and nothing is sent twice";
  request(1, ack(kClusters, "n1"));
  const auto answers = upstream();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].nonce, "n1");
  EXPECT_NE(hub.cache().accepted(kClusters, "c"), nullptr);
}

TEST_F(HubTest, ARejectionKeepsWhatWasAcceptedAndGoesUpstreamFromTheServingProxy) {
  (void)upstream();
  hub.open(1, "f1e0", now);
  request(1, subscribe(kClusters));
  plane(kClusters, "n1", {{"c", "good"}});
  request(1, ack(kClusters, "n1"));
  (void)upstream();
  plane(kClusters, "n2", {{"c", "bad"}});
  const auto answer = hub.on_request(1, nack(kClusters, "n2", "bad cluster"), now);
  ASSERT_TRUE(answer && *answer);
  EXPECT_FALSE((*answer)->accepted);
  EXPECT_TRUE((*answer)->serving);
  EXPECT_EQ((*answer)->message, "bad cluster");
  const auto requests = upstream();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(error_message(*requests[0].error_detail), "bad cluster");
  EXPECT_NE(hub.cache().accepted(kClusters, "c")->body.find("good"), std::string::npos);
  EXPECT_NE(hub.cache().find(kClusters, "c")->body.find("bad"), std::string::npos);
}

TEST_F(HubTest, ASecondGenerationIsServedFromTheCacheAndThePlaneDoesntSeeIt) {
  (void)upstream();
  hub.set_serving("f1e0");
  hub.open(1, "f1e0", now);
  request(1, subscribe(kClusters));
  request(1, subscribe(kEndpoints, {"c"}));
  (void)upstream();
  plane(kClusters, "n1", {{"c", "x"}});
  plane(kEndpoints, "n2", {{"c", "e"}});
  request(1, ack(kClusters, "n1"));
  request(1, ack(kEndpoints, "n2"));
  (void)upstream();

  hub.open(2, "f2e0", now);
  request(2, subscribe(kClusters));
  const auto clusters = next(2);
  EXPECT_THAT(names_in(clusters), ElementsAre("c"));
  EXPECT_NE(clusters.nonce(), "n1");
  request(2, subscribe(kEndpoints, {"c"}));
  EXPECT_THAT(names_in(next(2)), ElementsAre("c"));
  request(2, nack(kClusters, clusters.nonce(), "canary says no"));
  EXPECT_THAT(upstream(), IsEmpty());

  EXPECT_EQ(plane(kClusters, "n3", {{"c", "y"}}), 1u) << "with the same subscriptions the first one stays in sync";
  EXPECT_THAT(names_in(next(2)), ElementsAre("c"));
}

TEST_F(HubTest, ANameOnlyTheOtherGenerationWantsTakesTheServingOneOffTheFastPath) {
  (void)upstream();
  hub.set_serving("f1e0");
  hub.open(1, "f1e0", now);
  hub.open(2, "f2e0", now);
  request(1, subscribe(kRoutes, {"r"}));
  request(2, subscribe(kRoutes, {"s"}));
  const auto asked = upstream();
  EXPECT_THAT(asked.back().subscribe, ElementsAre("r", "s")) << "upstream is the union";
  EXPECT_FALSE(plane(kRoutes, "n1", {{"r", "x"}, {"s", "y"}}));
  EXPECT_THAT(names_in(next(1)), ElementsAre("r"));
  EXPECT_THAT(names_in(next(2)), ElementsAre("s"));
  EXPECT_EQ(upstream().at(0).nonce, "n1");
}

TEST_F(HubTest, UnsubscribesWhenNoProxyWantsTheName) {
  (void)upstream();
  hub.open(1, "", now);
  hub.open(2, "", now);
  request(1, subscribe(kRoutes, {"r"}));
  request(2, subscribe(kRoutes, {"r"}));
  (void)upstream();
  plane(kRoutes, "", {{"r", "x"}});
  request(1, unsubscribe(kRoutes, {"r"}));
  EXPECT_THAT(upstream(), IsEmpty());
  request(2, unsubscribe(kRoutes, {"r"}));
  EXPECT_THAT(upstream().at(0).unsubscribe, ElementsAre("r"));
  EXPECT_THAT(hub.cache().names(kRoutes), IsEmpty()) << "nobody keeps it up to date any more";
}

TEST_F(HubTest, ANonceNeverCrossesStreams) {
  (void)upstream();
  hub.open(1, "", now);
  request(1, subscribe(kClusters));
  plane(kClusters, "n1", {{"c", "x"}});
  hub.upstream_closed();
  EXPECT_FALSE(hub.next_upstream());
  hub.upstream_opened();
  (void)upstream();
  request(1, ack(kClusters, "n1"));
  EXPECT_THAT(upstream(), IsEmpty());
  EXPECT_NE(hub.cache().accepted(kClusters, "c"), nullptr) << "but it was accepted all the same";
}

TEST_F(HubTest, AReconnectTellsVersionsAndLeavesProxiesAlone) {
  (void)upstream();
  hub.open(1, "", now);
  request(1, subscribe(kClusters));
  request(1, subscribe(kEndpoints, {"c"}));
  (void)upstream();
  plane(kClusters, "n1", {{"c", "x"}});
  plane(kEndpoints, "n2", {{"c", "e"}});
  hub.upstream_closed();
  hub.upstream_opened();
  const auto requests = upstream();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_THAT(requests[0].initial_versions, ElementsAre(Pair("c", "vx")));
  EXPECT_THAT(requests[0].subscribe, IsEmpty());
  EXPECT_EQ(requests[1].type_url, kEndpoints);
  EXPECT_THAT(requests[1].subscribe, ElementsAre("c"));
  EXPECT_EQ(requests[2].type_url, kListeners);
  EXPECT_FALSE(hub.next_for(1, now));
}

TEST_F(HubTest, HealthFollowsTheListenersOnEachStream) {
  hub.set_health(make_error_detail(13, "probe failed"));
  auto requests = upstream();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[2].type_url, kHealthType);
  EXPECT_EQ(error_message(*requests[2].error_detail), "probe failed");
  EXPECT_THAT(upstream(), IsEmpty());
  hub.set_health(std::nullopt);
  EXPECT_FALSE(upstream().at(0).error_detail);
  hub.upstream_closed();
  hub.upstream_opened();
  requests = upstream();
  EXPECT_EQ(requests.back().type_url, kHealthType);
  EXPECT_FALSE(requests.back().error_detail);
}

TEST_F(HubTest, ARepeatedResourceIsPassedOnToEverybody) {
  (void)upstream();
  hub.set_serving("a");
  hub.open(1, "a", now);
  hub.open(2, "b", now);
  request(1, subscribe(kClusters));
  request(2, subscribe(kClusters));
  plane(kClusters, "n1", {{"c", "x"}});
  drain(2);
  EXPECT_EQ(plane(kClusters, "n2", {{"c", "x"}}), 1u);
  EXPECT_THAT(names_in(next(2)), ElementsAre("c"));
}

TEST_F(HubTest, ThatANameDoesntExistIsToldToALaterProxyToo) {
  (void)upstream();
  hub.open(1, "", now);
  request(1, subscribe(kRoutes, {"r"}));
  (void)upstream();
  plane(kRoutes, "n1", {}, {"r"});
  hub.open(2, "", now);
  request(2, subscribe(kRoutes, {"r"}));
  EXPECT_THAT(removed_in(next(2)), ElementsAre("r"));
}

TEST_F(HubTest, TheSuccessorOfAProxyFindsItsNamesInTheCache) {
  (void)upstream();
  hub.open(1, "", now);
  request(1, subscribe(kRoutes, {"r", "s"}));
  (void)upstream();
  plane(kRoutes, "n1", {{"r", "x"}, {"s", "y"}});
  hub.close(1, now);
  now += std::chrono::hours(1);
  hub.on_time(now);
  EXPECT_THAT(upstream(), ElementsAre(testing::Field(&Request::nonce, "n1"))) << "nobody is there: nothing is given up";
  hub.upstream_closed();
  hub.open(2, "", now);
  request(2, subscribe(kRoutes, {"r"}));
  EXPECT_THAT(names_in(next(2)), ElementsAre("r"));
  hub.upstream_opened();
  (void)upstream();
  now += Hub::kLinger;
  ASSERT_TRUE(hub.deadline() && *hub.deadline() <= now);
  hub.on_time(now);
  EXPECT_THAT(upstream().at(0).unsubscribe, ElementsAre("s"));
}

TEST_F(HubTest, AProxyThatGoesAwayOwesThePlaneNoAnswer) {
  (void)upstream();
  hub.open(1, "", now);
  request(1, subscribe(kClusters));
  plane(kClusters, "n1", {{"c", "x"}});
  hub.close(1, now);
  EXPECT_EQ(upstream().at(0).nonce, "n1");
}

TEST_F(HubTest, TypesOfTheAgentAreNeitherAskedForByAProxyNorSentToOne) {
  (void)upstream();
  hub.open(1, "", now);
  const auto refused = hub.on_request(1, subscribe("type.googleapis.com/istio.networking.nds.v1.NameTable"), now);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().id(), "HWS-XDS-013");
  EXPECT_FALSE(plane("type.googleapis.com/istio.networking.nds.v1.NameTable", "n", {{"t", "x"}}));
  EXPECT_FALSE(hub.next_for(1, now));
  EXPECT_THAT(upstream(), IsEmpty());
}

TEST_F(HubTest, AfterPromotionTheOldGenerationNoLongerSpeaksForTheHost) {
  (void)upstream();
  hub.set_serving("f1e0");
  hub.open(1, "f1e0", now);
  hub.open(2, "f2e0", now);
  request(1, subscribe(kClusters));
  request(2, subscribe(kClusters));
  EXPECT_EQ(plane(kClusters, "n1", {{"c", "x"}}), 1u);
  hub.set_serving("f2e0");
  request(1, nack(kClusters, "n1", "no"));
  const auto answers = upstream();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_FALSE(answers[0].error_detail);
  drain(2);
  EXPECT_EQ(plane(kClusters, "n2", {{"c", "y"}}), 2u);
}

}  // namespace
}  // namespace hawser::xds::test
