// SPDX-License-Identifier: Apache-2.0
#include "xds/downstream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "messages.h"

namespace hawser::xds::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class DownstreamTest : public testing::Test {
 protected:
  ResourcePtr put(const std::string& type, const std::string& name, const std::string& body) {
    ResourceBytes bytes{name, "", {}, false};
    bytes.body = parsed(plane_response(type, "", {{name, body}})).resources[0].body;
    return cache.put(type, std::move(bytes)).resource;
  }
  void request(const Request& r) { (void)downstream.on_request(r, cache, now); }
  // The next message, or one with an empty type.
  DeltaDiscoveryResponse next() {
    const auto message = downstream.next(cache, now);
    return message ? decoded(message->bytes) : DeltaDiscoveryResponse();
  }
  void drain() {
    while (downstream.next(cache, now)) {
    }
  }

  Cache cache;
  Downstream downstream;
  Loop::Monotonic now{};
};

TEST_F(DownstreamTest, IsServedWithTheContentHashAsVersionAndClustersFirst) {
  const auto cluster = put(kClusters, "c", "cluster");
  put(kEndpoints, "c", "endpoints");
  cache.set_synced(kClusters);
  request(subscribe(kEndpoints, {"c"}));
  request(subscribe(kClusters));
  const auto first = next();
  EXPECT_EQ(first.type_url(), kClusters);
  EXPECT_EQ(first.resources(0).version(), cluster->hash_hex());
  EXPECT_EQ(first.resources(0).resource(), "cluster");
  EXPECT_EQ(next().type_url(), kEndpoints);
  EXPECT_EQ(next().type_url(), "");
}

TEST_F(DownstreamTest, TheFirstAnswerToAllComesEvenIfItIsEmptyButNotBeforeThePlaneAnswered) {
  request(subscribe(kClusters));
  EXPECT_FALSE(downstream.next(cache, now));
  cache.set_synced(kClusters);
  const auto empty = next();
  EXPECT_EQ(empty.type_url(), kClusters);
  EXPECT_EQ(empty.resources_size(), 0);
  EXPECT_FALSE(downstream.next(cache, now));
}

TEST_F(DownstreamTest, AnEmptyListOfANamedTypeAsksForNothing) {
  put(kEndpoints, "e", "x");
  const auto change = downstream.on_request(subscribe(kEndpoints), cache, now);
  EXPECT_FALSE(change.all_added);
  EXPECT_FALSE(downstream.next(cache, now));
}

TEST_F(DownstreamTest, SubscribingToAllAndGivingItUpInOneRequestIsNoChange) {
  Request request = subscribe(kClusters, {"*"});
  request.unsubscribe = {"*"};
  const auto change = downstream.on_request(request, cache, now);
  EXPECT_FALSE(change.all_added);
  EXPECT_FALSE(change.all_removed);
  EXPECT_FALSE(downstream.wants(kClusters, "c"));
}

TEST_F(DownstreamTest, AskingAgainForAHeldResourceSendsItAgain) {
  put(kRoutes, "r", "x");
  request(subscribe(kRoutes, {"r"}));
  drain();
  request(subscribe(kRoutes, {"r"}));
  EXPECT_THAT(names_in(next()), ElementsAre("r"));
}

TEST_F(DownstreamTest, AnAckChangesNothing) {
  put(kRoutes, "r", "x");
  request(subscribe(kRoutes, {"r"}));
  const auto sent = next();
  const auto change = downstream.on_request(ack(kRoutes, sent.nonce()), cache, now);
  EXPECT_THAT(change.added, IsEmpty());
  EXPECT_THAT(change.removed, IsEmpty());
  EXPECT_FALSE(change.all_added);
  EXPECT_FALSE(downstream.next(cache, now));
  EXPECT_TRUE(downstream.wants(kRoutes, "r"));
}

TEST_F(DownstreamTest, ANameThatDoesntExistIsToldAsRemoved) {
  cache.remove(kRoutes, "r", true);
  request(subscribe(kRoutes, {"r", "unanswered"}));
  EXPECT_THAT(removed_in(next()), ElementsAre("r"));
  EXPECT_FALSE(downstream.next(cache, now)) << "the plane hasn't said anything about the other one";
}

TEST_F(DownstreamTest, LargeAnswersComeInChunks) {
  for (int i = 0; i < 5; ++i)
    put(kRoutes, "r" + std::to_string(i), std::string(std::size_t{2} << 20, static_cast<char>('a' + i)));
  request(subscribe(kRoutes, {"r0", "r1", "r2", "r3", "r4"}));
  std::vector<std::string> names;
  int messages = 0;
  while (const auto message = downstream.next(cache, now)) {
    ++messages;
    EXPECT_LE(message->bytes.size(), Downstream::kChunkBytes + 1024);
    for (const auto& name : names_in(decoded(message->bytes))) names.push_back(name);
  }
  EXPECT_EQ(messages, 5) << "two of 2 MiB are a little more than 4 MiB";
  EXPECT_THAT(names, ElementsAre("r0", "r1", "r2", "r3", "r4"));
}

TEST_F(DownstreamTest, EndpointsAreReplayedAfterAChangeOfTheirClusterIfThePlaneSendsNone) {
  put(kClusters, "c", "one");
  put(kClusters, "other", "one");
  put(kEndpoints, "c", "endpoints");
  put(kEndpoints, "other", "endpoints");
  cache.set_synced(kClusters);
  request(subscribe(kClusters));
  request(subscribe(kEndpoints, {"c", "other"}));
  drain();
  now += std::chrono::seconds(1);
  downstream.on_time(cache, now);
  EXPECT_FALSE(downstream.next(cache, now)) << "the endpoints came after the clusters already";

  put(kClusters, "c", "two");
  downstream.mark(kClusters, "c");
  EXPECT_THAT(names_in(next()), ElementsAre("c"));
  EXPECT_FALSE(downstream.next(cache, now));
  ASSERT_EQ(downstream.deadline(), now + Downstream::kReplayAfter);
  now += Downstream::kReplayAfter;
  downstream.on_time(cache, now);
  const auto replay = next();
  EXPECT_EQ(replay.type_url(), kEndpoints);
  EXPECT_THAT(names_in(replay), ElementsAre("c"));
  EXPECT_FALSE(downstream.deadline());
}

TEST_F(DownstreamTest, EndpointsUnderAnotherNameThanTheClusterAreReplayedToo) {
  put(kClusters, "c", "one");
  put(kEndpoints, "service-name", "endpoints");
  cache.set_synced(kClusters);
  request(subscribe(kClusters));
  request(subscribe(kEndpoints, {"service-name"}));
  drain();
  put(kClusters, "c", "two");
  downstream.mark(kClusters, "c");
  drain();
  now += Downstream::kReplayAfter;
  downstream.on_time(cache, now);
  EXPECT_THAT(names_in(next()), ElementsAre("service-name"));
}

TEST_F(DownstreamTest, AnUnchangedClusterReplaysNothing) {
  put(kClusters, "c", "one");
  put(kEndpoints, "c", "endpoints");
  cache.set_synced(kClusters);
  request(subscribe(kClusters));
  request(subscribe(kEndpoints, {"c"}));
  drain();
  downstream.mark(kClusters, "c");
  now += std::chrono::seconds(1);
  downstream.on_time(cache, now);
  EXPECT_THAT(names_in(next()), ElementsAre("c")) << "but the repetition itself is passed on";
  EXPECT_FALSE(downstream.deadline());
}

TEST_F(DownstreamTest, WhatAProxyBroughtAlongIsRemovedOnlyAfterThePlaneHadTimeToNameIt) {
  Request first = subscribe(kClusters);
  first.initial_versions = {{"stale", "1"}, {"late", "1"}};
  request(first);
  EXPECT_FALSE(downstream.can_forward(kClusters)) << "the plane's message wouldn't remove what is stale";
  put(kClusters, "c", "x");
  cache.set_synced(kClusters);
  downstream.on_synced(kClusters, now);
  downstream.mark(kClusters, "c");
  EXPECT_THAT(removed_in(next()), IsEmpty());
  put(kClusters, "late", "x");
  downstream.mark(kClusters, "late");
  drain();
  now += Downstream::kSettle;
  downstream.on_time(cache, now);
  EXPECT_THAT(removed_in(next()), ElementsAre("stale"));
  EXPECT_TRUE(downstream.can_forward(kClusters));
}

TEST_F(DownstreamTest, AProxyThatDoesntAnswerIsOwedNamesNotBytes) {
  put(kRoutes, "r", "x");
  request(subscribe(kRoutes, {"r"}));
  std::vector<std::string> nonces;
  for (std::size_t i = 0; i < 2 * Downstream::kMaxUnanswered; ++i) {
    downstream.mark(kRoutes, "r");
    if (const auto message = downstream.next(cache, now)) nonces.push_back(decoded(message->bytes).nonce());
  }
  EXPECT_EQ(nonces.size(), Downstream::kMaxUnanswered);
  EXPECT_FALSE(downstream.can_forward(kRoutes));
  EXPECT_TRUE(downstream.take_delivery(kRoutes, nonces.front()));
  EXPECT_FALSE(downstream.take_delivery(kRoutes, nonces.front()));
  EXPECT_THAT(names_in(next()), ElementsAre("r"));
}

TEST_F(DownstreamTest, WhatIsGivenUpIsntSent) {
  put(kRoutes, "r", "x");
  put(kRoutes, "s", "x");
  request(subscribe(kRoutes, {"r", "s"}));
  const auto change = downstream.on_request(unsubscribe(kRoutes, {"r"}), cache, now);
  EXPECT_THAT(change.removed, ElementsAre("r"));
  EXPECT_THAT(names_in(next()), ElementsAre("s"));
  downstream.mark(kRoutes, "r");
  EXPECT_FALSE(downstream.next(cache, now));
}

}  // namespace
}  // namespace hawser::xds::test
