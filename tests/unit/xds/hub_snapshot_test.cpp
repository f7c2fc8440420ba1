// SPDX-License-Identifier: Apache-2.0
// A start from the last-good snapshot, and what the next one consists of.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "messages.h"
#include "xds/hub.h"

namespace hawser::xds::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Key;
using testing::Pair;
using testing::UnorderedElementsAre;

class HubSnapshotTest : public testing::Test {
 protected:
  std::vector<Request> upstream() {
    std::vector<Request> out;
    while (auto request = hub.next_upstream()) out.push_back(std::move(*request));
    return out;
  }
  std::optional<Hub::Id> plane(std::string_view type, const std::string& nonce,
                               const std::map<std::string, std::string>& resources,
                               const std::vector<std::string>& removed = {}) {
    Response response = parsed(plane_response(type, nonce, resources, removed, "v"));
    const auto target = hub.forward_to(response.envelope);
    hub.ingest(std::move(response), target, now);
    return target;
  }
  std::vector<DeltaDiscoveryResponse> drain(Hub::Id id) {
    std::vector<DeltaDiscoveryResponse> out;
    while (auto message = hub.next_for(id, now)) out.push_back(decoded(message->bytes));
    return out;
  }
  std::vector<DeltaDiscoveryResponse> request(Hub::Id id, const Request& r) {
    EXPECT_TRUE(hub.on_request(id, r, now));
    return drain(id);
  }
  // An empty answer to "all" is no news.
  static void expect_nothing_told(const std::vector<DeltaDiscoveryResponse>& messages, const std::string& why) {
    for (const auto& message : messages) {
      EXPECT_THAT(names_in(message), IsEmpty()) << why;
      EXPECT_THAT(removed_in(message), IsEmpty()) << why;
    }
  }
  // Accepts whatever it is sent.
  void accept_all(Hub::Id id) {
    for (auto sent = drain(id); !sent.empty(); sent = drain(id)) {
      for (const auto& message : sent) EXPECT_TRUE(hub.on_request(id, ack(message.type_url(), message.nonce()), now));
    }
  }
  static Hub::Restored restored(const std::string& type, const std::map<std::string, std::string>& resources) {
    Hub::Restored out{type, !named_type(type), {}};
    Response response = parsed(plane_response(type, "", resources, {}, "v"));
    out.resources = std::move(response.resources);
    return out;
  }
  bool restore() {
    return hub.restore({restored(kClusters, {{"c", "C1"}, {"gone", "G1"}}), restored(kEndpoints, {{"c", "E1"}}),
                        restored(kListeners, {{"l", "L1"}}), restored(kRoutes, {{"r", "R1"}, {"unused", "U1"}})},
                       now);
  }
  std::vector<std::string> accepted(const std::string& type) const {
    std::vector<std::string> out;
    for (const auto& [name, resource] : hub.accepted(type).resources) out.push_back(name);
    return out;
  }

  Hub hub{{kClusters, kListeners}};
  Loop::Monotonic now{};
};

// "type" where the whole answer is missing, "type name" for each name.
std::vector<std::string> missing(const Hub& hub) {
  std::vector<std::string> out;
  for (const auto& item : hub.outlook().missing) {
    if (item.names.empty()) out.push_back(short_name(item.type));
    for (const auto& name : item.names) out.push_back(short_name(item.type) + " " + name);
  }
  return out;
}

TEST_F(HubSnapshotTest, WhatASuccessorWouldWaitForIsToldUntilThePlaneHasSaidIt) {
  EXPECT_THAT(missing(hub), ElementsAre("Cluster", "Listener"));
  hub.upstream_opened();
  hub.open(1, "f1e0", now);
  hub.set_serving("f1e0");
  request(1, subscribe(kClusters));
  upstream();
  plane(kClusters, "n1", {{"c", "C1"}});
  EXPECT_TRUE(hub.on_request(1, ack(kClusters, "n1"), now));
  request(1, subscribe(kEndpoints, {"c", "d"}));
  request(1, subscribe(kListeners));
  upstream();
  EXPECT_THAT(missing(hub), ElementsAre("ClusterLoadAssignment c", "ClusterLoadAssignment d", "Listener"));
  plane(kEndpoints, "n2", {{"c", "E1"}}, {"d"});
  plane(kListeners, "n3", {{"l", "L1"}});
  request(1, subscribe(kRoutes, {"r"}));
  upstream();
  EXPECT_THAT(missing(hub), ElementsAre("RouteConfiguration r"));
  plane(kRoutes, "n4", {{"r", "R1"}});
  EXPECT_THAT(missing(hub), IsEmpty()) << "a name that doesn't exist isn't waited for";
  EXPECT_FALSE(hub.outlook().settled);
  for (const auto& [type, nonce] : {std::pair(kEndpoints, "n2"), {kListeners, "n3"}, {kRoutes, "n4"}})
    EXPECT_TRUE(hub.on_request(1, ack(type, nonce), now));
  EXPECT_TRUE(hub.outlook().settled);
  hub.upstream_closed();
  EXPECT_THAT(missing(hub), IsEmpty()) << "the cache is enough";
}

TEST_F(HubSnapshotTest, ASnapshotIsEnoughForASuccessor) {
  ASSERT_TRUE(restore());
  hub.open(1, "f1e0", now);
  request(1, subscribe(kClusters));
  request(1, subscribe(kListeners));
  request(1, subscribe(kRoutes, {"r", "nowhere"}));
  EXPECT_THAT(missing(hub), IsEmpty());
}

TEST_F(HubSnapshotTest, WhatTheServingOneHasRefusedIsToldUntilItTakesIt) {
  hub.upstream_opened();
  for (const Hub::Id id : {1, 2}) {
    hub.open(id, id == 1 ? "f1e0" : "f1e1", now);
    request(id, subscribe(kListeners));
  }
  hub.set_serving("f1e0");
  upstream();
  ASSERT_EQ(plane(kListeners, "n0", {{"l", "L0"}}), 1u);
  EXPECT_TRUE(hub.on_request(1, ack(kListeners, "n0"), now));
  ASSERT_EQ(plane(kListeners, "n1", {{"l", "L1"}}), 1u);
  EXPECT_TRUE(hub.on_request(1, nack(kListeners, "n1", "no"), now));
  EXPECT_THAT(hub.outlook().rejected, ElementsAre(kListeners));
  for (const auto& sent : drain(2)) EXPECT_TRUE(hub.on_request(2, ack(kListeners, sent.nonce()), now));
  EXPECT_THAT(hub.outlook().rejected, ElementsAre(kListeners)) << "another one has taken it";
  EXPECT_TRUE(hub.refusals()->outstanding(kListeners));
  hub.set_serving("f1e1");
  EXPECT_THAT(hub.outlook().rejected, IsEmpty()) << "it's this one that serves now";
  EXPECT_FALSE(hub.refusals()->outstanding(kListeners));
  hub.set_serving("f1e0");
  ASSERT_EQ(plane(kListeners, "n2", {{"l", "L2"}}), 1u);
  EXPECT_TRUE(hub.on_request(1, ack(kListeners, "n2"), now));
  EXPECT_THAT(hub.outlook().rejected, IsEmpty());
}

TEST_F(HubSnapshotTest, TakingAnotherResourceIsNotTakingTheRefusedOne) {
  hub.upstream_opened();
  hub.open(1, "f1e0", now);
  request(1, subscribe(kListeners));
  upstream();
  const auto answer = [this](const Request& said) {
    const auto out = hub.on_request(1, said, now);
    return out && *out && (*out)->outstanding;
  };
  plane(kListeners, "n0", {{"a", "A0"}, {"b", "B0"}, {"ab", "AB0"}});
  EXPECT_FALSE(answer(ack(kListeners, "n0")));
  plane(kListeners, "n1", {{"a", "A1"}, {"b", "B1"}, {"ab", "AB1"}});
  EXPECT_TRUE(answer(nack(kListeners, "n1", "Error adding/updating listener(s) ab: bad filter\na: no: port\n")));
  plane(kListeners, "n2", {{"b", "B2"}});
  EXPECT_TRUE(answer(ack(kListeners, "n2")));
  EXPECT_THAT(hub.outlook().rejected, ElementsAre(kListeners));
  plane(kListeners, "n3", {{"a", "A2"}});
  EXPECT_TRUE(answer(ack(kListeners, "n3"))) << "the other one is left";
  plane(kListeners, "n4", {}, {"ab"});
  EXPECT_FALSE(answer(ack(kListeners, "n4"))) << "it's gone";
  EXPECT_THAT(hub.outlook().rejected, IsEmpty());
}

// Envoy takes the rest of what it refuses, removals too.
TEST_F(HubSnapshotTest, WhatARefusalDoesntNameWasTaken) {
  hub.upstream_opened();
  hub.open(1, "f1e0", now);
  request(1, subscribe(kListeners));
  upstream();
  const auto refused = [this](const std::string& nonce, const std::string& why) {
    EXPECT_TRUE(hub.on_request(1, nack(kListeners, nonce, why), now));
    return hub.refusals()->outstanding(kListeners);
  };
  plane(kListeners, "n1", {{"x", "X1"}, {"y", "Y1"}, {"z", "Z1"}});
  EXPECT_TRUE(refused("n1", "x: bad\ny: bad\nz: bad\n"));
  EXPECT_THAT(hub.outlook().rejected, IsEmpty()) << "a successor lacks nothing that this one has";
  plane(kListeners, "n2", {{"y", "Y2"}, {"z", "Z2"}}, {"x"});
  EXPECT_TRUE(refused("n2", "z: bad\n"));
  plane(kListeners, "n3", {{"z", "Z3"}});
  EXPECT_TRUE(hub.on_request(1, ack(kListeners, "n3"), now));
  EXPECT_FALSE(hub.refusals()->outstanding(kListeners)) << "the one was removed, the other mended, in what was refused";
  // A text that was cut says nothing of what isn't in it.
  plane(kListeners, "n4", {{"y", "Y4"}, {"z", "Z4"}});
  EXPECT_TRUE(refused("n4", "y: bad and so on...(truncated)"));
  plane(kListeners, "n5", {{"y", "Y5"}});
  EXPECT_TRUE(hub.on_request(1, ack(kListeners, "n5"), now));
  EXPECT_FALSE(hub.refusals()->outstanding(kListeners));
}

// hawserd was restarted: what the proxy brings along it has, whatever was accepted before.
TEST_F(HubSnapshotTest, WhatAProxyBringsAlongItHas) {
  hub.upstream_opened();
  hub.open(1, "f1e0", now);
  Request held = subscribe(kListeners);
  held.initial_versions = {{"a", "1"}};
  request(1, held);
  upstream();
  const auto refuse = [this](const std::string& nonce, const std::string& why) {
    auto sent = drain(1);
    EXPECT_TRUE(hub.on_request(1, nack(kListeners, sent.empty() ? nonce : sent.front().nonce(), why), now));
    EXPECT_TRUE(hub.refusals()->outstanding(kListeners));
  };
  plane(kListeners, "n1", {{"a", "A2"}, {"b", "B1"}});
  refuse("n1", "b: bad");
  EXPECT_THAT(hub.outlook().rejected, IsEmpty()) << "of the new one it never had a version";
  plane(kListeners, "n2", {{"a", "A3"}});
  refuse("n2", "a: bad");
  EXPECT_THAT(hub.outlook().rejected, ElementsAre(kListeners));
}

TEST_F(HubSnapshotTest, ARefusalThatNamesNothingIsOverWithTheNextThatIsTaken) {
  hub.upstream_opened();
  hub.open(1, "f1e0", now);
  request(1, subscribe(kListeners));
  upstream();
  plane(kListeners, "n0", {{"a", "A0"}});
  EXPECT_TRUE(hub.on_request(1, ack(kListeners, "n0"), now));
  plane(kListeners, "n1", {{"a", "A1"}});
  EXPECT_TRUE(hub.on_request(1, nack(kListeners, "n1", "why: it's not said of what"), now));
  EXPECT_THAT(hub.outlook().rejected, ElementsAre(kListeners));
  plane(kListeners, "n2", {{"b", "B1"}});
  EXPECT_TRUE(hub.on_request(1, ack(kListeners, "n2"), now));
  EXPECT_THAT(hub.outlook().rejected, IsEmpty());
}

TEST_F(HubSnapshotTest, WhatIsntAskedForAnyMoreIsntMissed) {
  hub.upstream_opened();
  hub.open(1, "f1e0", now);
  request(1, subscribe(kRoutes, {"r", "s"}));
  upstream();
  plane(kRoutes, "n0", {{"r", "R0"}});
  EXPECT_TRUE(hub.on_request(1, ack(kRoutes, "n0"), now));
  plane(kRoutes, "n1", {{"r", "R1"}});
  EXPECT_TRUE(hub.on_request(1, nack(kRoutes, "n1", "r: bad"), now));
  EXPECT_THAT(hub.outlook().rejected, ElementsAre(kRoutes));
  request(1, unsubscribe(kRoutes, {"r"}));
  EXPECT_THAT(hub.outlook().rejected, IsEmpty());
}

// The names of one that came back with a state of its own are the plane's to judge; one that starts gets an answer.
TEST_F(HubSnapshotTest, NamesThatTheSnapshotLacksHoldNoSuccessorUp) {
  hub.open(1, "f1e0", now);
  Request held = subscribe(kRoutes, {"r", "newer"});
  held.initial_versions = {{"r", "1"}, {"newer", "1"}};
  request(1, held);
  ASSERT_TRUE(restore());
  EXPECT_THAT(missing(hub), IsEmpty());
  hub.open(2, "f1e1", now);
  const auto told = request(2, subscribe(kRoutes, {"newer"}));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_THAT(removed_in(told[0]), ElementsAre("newer"));
}

TEST_F(HubSnapshotTest, AProxyStartsFromItWithoutThePlane) {
  ASSERT_TRUE(restore());
  EXPECT_TRUE(hub.serves_snapshot());
  hub.open(1, "f1e0", now);
  const auto clusters = request(1, subscribe(kClusters));
  ASSERT_EQ(clusters.size(), 1u);
  EXPECT_THAT(names_in(clusters[0]), UnorderedElementsAre("c", "gone"));
  EXPECT_THAT(names_in(request(1, subscribe(kEndpoints, {"c"})).at(0)), ElementsAre("c"));
  EXPECT_THAT(names_in(request(1, subscribe(kListeners)).at(0)), ElementsAre("l"));
  EXPECT_THAT(names_in(request(1, subscribe(kRoutes, {"r"})).at(0)), ElementsAre("r"));
}

TEST_F(HubSnapshotTest, AProxyThatWasThereBeforeGetsItToo) {
  hub.open(1, "f1e0", now);
  EXPECT_THAT(request(1, subscribe(kClusters)), IsEmpty());
  EXPECT_THAT(request(1, subscribe(kRoutes, {"r", "nowhere"})), IsEmpty());
  ASSERT_TRUE(restore());
  const auto sent = drain(1);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_THAT(names_in(sent[0]), UnorderedElementsAre("c", "gone"));
  EXPECT_THAT(names_in(sent[1]), ElementsAre("r"));
  EXPECT_THAT(removed_in(sent[1]), ElementsAre("nowhere"));
}

TEST_F(HubSnapshotTest, ANameThatItLacksDoesntExistSoThatNobodyWaitsForIt) {
  ASSERT_TRUE(restore());
  hub.open(1, "f1e0", now);
  const auto answer = request(1, subscribe(kEndpoints, {"c", "newer"}));
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_THAT(names_in(answer[0]), ElementsAre("c"));
  EXPECT_THAT(removed_in(answer[0]), ElementsAre("newer"));
  hub.upstream_opened();
  EXPECT_THAT(upstream()[1].subscribe, ElementsAre("c", "newer")) << "and the plane is asked for it all the same";
  EXPECT_EQ(plane(kEndpoints, "n1", {{"newer", "E2"}}), 1u) << "whose answer reaches the proxy";
}

TEST_F(HubSnapshotTest, AProxyThatBroughtItsOwnStateKeepsIt) {
  hub.open(1, "f1e0", now);
  Request clusters = subscribe(kClusters);
  clusters.initial_versions = {{"c", "newer"}, {"new", "v"}};
  Request endpoints = subscribe(kEndpoints, {"c", "new"});
  endpoints.initial_versions = {{"c", "newer"}, {"new", "v"}};
  EXPECT_THAT(request(1, clusters), IsEmpty());
  EXPECT_THAT(request(1, endpoints), IsEmpty());
  ASSERT_TRUE(restore());
  expect_nothing_told(drain(1), "what it holds may be newer than the snapshot");
  now += std::chrono::minutes(5);
  hub.on_time(now);
  expect_nothing_told(drain(1), "and nothing is taken from it on the snapshot's word");

  // Also one that comes later.
  hub.open(2, "f1e0", now);
  expect_nothing_told(request(2, clusters), "a later one");
  expect_nothing_told(request(2, endpoints), "a later one");
}

TEST_F(HubSnapshotTest, ThePlaneIsToldWhatThereIsAndItsAnswerCorrectsIt) {
  ASSERT_TRUE(restore());
  hub.open(1, "f1e0", now);
  (void)request(1, subscribe(kClusters));
  (void)request(1, subscribe(kEndpoints, {"c"}));
  (void)request(1, subscribe(kListeners));
  (void)request(1, subscribe(kRoutes, {"r"}));
  accept_all(1);
  hub.upstream_opened();
  const auto asked = upstream();
  ASSERT_EQ(asked.size(), 4u);
  EXPECT_THAT(asked[0].initial_versions, UnorderedElementsAre(Pair("c", "vC1"), Pair("gone", "vG1")));
  EXPECT_THAT(asked[3].subscribe, ElementsAre("r"));
  EXPECT_THAT(asked[3].initial_versions, ElementsAre(Pair("r", "vR1"))) << "to tell a version is to subscribe";

  EXPECT_EQ(plane(kClusters, "n1", {{"c", "C2"}}, {"gone"}), 1u) << "the proxy is in sync: the plane speaks to it";
  EXPECT_FALSE(hub.serves_snapshot());
  EXPECT_THAT(hub.cache().names(kClusters), ElementsAre("c"));
  EXPECT_EQ(hub.cache().find(kClusters, "c")->version, "vC2");
  EXPECT_FALSE(hub.restore({restored(kClusters, {{"old", "O"}})}, now)) << "too late for a snapshot";
  EXPECT_THAT(hub.cache().names(kClusters), ElementsAre("c"));
}

TEST_F(HubSnapshotTest, AfterThePlaneHasAnsweredASnapshotChangesNothing) {
  hub.upstream_opened();
  (void)upstream();  // what isn't asked for isn't taken
  plane(kClusters, "n1", {{"c", "fresh"}});
  EXPECT_FALSE(restore());
  EXPECT_THAT(hub.cache().names(kListeners), IsEmpty());
}

TEST_F(HubSnapshotTest, WhatNobodyAsksForGoesOnceThePlaneIsBack) {
  ASSERT_TRUE(restore());
  hub.open(1, "f1e0", now);
  (void)request(1, subscribe(kRoutes, {"r"}));
  now += std::chrono::minutes(5);
  hub.on_time(now);
  EXPECT_THAT(hub.cache().names(kRoutes), ElementsAre("r", "unused")) << "kept while only the snapshot is there";
  hub.upstream_opened();
  (void)upstream();
  plane(kClusters, "n1", {{"c", "C2"}});
  ASSERT_TRUE(hub.deadline());
  hub.on_time(now);
  EXPECT_THAT(hub.cache().names(kRoutes), ElementsAre("r"));
  EXPECT_THAT(hub.cache().names(kEndpoints), IsEmpty());
}

TEST_F(HubSnapshotTest, ASnapshotIsWhatTheServingProxyAccepted) {
  hub.upstream_opened();
  hub.open(1, "", now);
  (void)request(1, subscribe(kClusters));
  (void)request(1, subscribe(kEndpoints, {"c"}));
  (void)upstream();
  EXPECT_FALSE(hub.settled());
  plane(kClusters, "n1", {{"c", "C1"}});
  plane(kEndpoints, "n2", {{"c", "E1"}});
  EXPECT_FALSE(hub.settled()) << "it hasn't answered";
  EXPECT_THAT(accepted(kClusters), IsEmpty());
  (void)request(1, ack(kClusters, "n1"));
  (void)request(1, ack(kEndpoints, "n2"));
  EXPECT_TRUE(hub.settled());
  EXPECT_THAT(accepted(kClusters), ElementsAre("c"));
  const auto revisions = hub.accepted_revisions();
  EXPECT_THAT(revisions, UnorderedElementsAre(Key(kClusters), Key(kEndpoints)));
  plane(kEndpoints, "n3", {{"c", "E2"}});
  (void)request(1, ack(kEndpoints, "n3"));
  EXPECT_EQ(hub.accepted_revisions().at(kClusters), revisions.at(kClusters));
  EXPECT_NE(hub.accepted_revisions().at(kEndpoints), revisions.at(kEndpoints));
  (void)request(1, unsubscribe(kEndpoints, {"c"}));
  EXPECT_THAT(hub.accepted_revisions(), ElementsAre(Key(kClusters))) << "nobody asks for endpoints any more";
}

TEST_F(HubSnapshotTest, WhatARejectedUpdateLeavesBehindIsKeptUntilAllIsAcceptedAgain) {
  hub.upstream_opened();
  hub.open(1, "", now);
  (void)request(1, subscribe(kListeners));
  (void)request(1, subscribe(kRoutes, {"old"}));
  (void)upstream();
  plane(kListeners, "n1", {{"l", "to old"}});
  plane(kRoutes, "n2", {{"old", "R"}});
  (void)request(1, ack(kListeners, "n1"));
  (void)request(1, ack(kRoutes, "n2"));
  // The valid part of this takes the listener over to another route.
  plane(kListeners, "n3", {{"l", "to new"}, {"bad", "x"}});
  (void)request(1, nack(kListeners, "n3", "bad listener"));
  (void)request(1, subscribe(kRoutes, {"new"}));
  (void)request(1, unsubscribe(kRoutes, {"old"}));
  plane(kRoutes, "n4", {{"new", "R"}});
  (void)request(1, ack(kRoutes, "n4"));
  EXPECT_EQ(hub.cache().accepted(kListeners, "l")->version, "vto old");
  EXPECT_THAT(accepted(kRoutes), ElementsAre("new", "old")) << "the listener that was accepted needs it";
  EXPECT_THAT(accepted(kListeners), ElementsAre("l"));
  plane(kListeners, "n5", {{"bad", "good now"}});
  (void)request(1, ack(kListeners, "n5"));
  EXPECT_THAT(accepted(kRoutes), ElementsAre("new"));
}

}  // namespace
}  // namespace hawser::xds::test
