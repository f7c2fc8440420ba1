// SPDX-License-Identifier: Apache-2.0
#include "xds/subscriptions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "messages.h"

namespace hawser::xds {
namespace {

using test::kClusters, test::kEndpoints, test::kListeners, test::kRoutes;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(Subscriptions, AreOpenedInTheOrderOfReferencesAndOnlyOnce) {
  Subscriptions subscriptions;
  const Cache cache;
  subscriptions.want(kRoutes, "r");
  subscriptions.want_all(kListeners);
  subscriptions.want(kEndpoints, "e");
  subscriptions.want_all(kClusters);
  std::vector<std::string> order;
  while (const auto request = subscriptions.next(cache)) order.push_back(request->type_url);
  EXPECT_THAT(order, ElementsAre(kClusters, kEndpoints, kListeners, kRoutes));
}

TEST(Subscriptions, ANamedTypeIsNeverOpenedWithAnEmptyList) {
  Subscriptions subscriptions;
  const Cache cache;
  subscriptions.want(kEndpoints, "e");
  EXPECT_TRUE(subscriptions.unwant(kEndpoints, "e"));
  EXPECT_FALSE(subscriptions.next(cache));
  subscriptions.want_all(kEndpoints);
  EXPECT_THAT(subscriptions.next(cache)->subscribe, ElementsAre("*"));
}

TEST(Subscriptions, ANewStreamTellsTheVersionsOfTheCache) {
  Subscriptions subscriptions;
  Cache cache;
  subscriptions.want_all(kClusters);
  EXPECT_THAT(subscriptions.next(cache)->subscribe, IsEmpty());
  cache.put(kClusters, {"c", "v1", "body", false});
  subscriptions.new_stream();
  const auto again = subscriptions.next(cache);
  EXPECT_THAT(again->subscribe, IsEmpty());
  EXPECT_THAT(again->initial_versions, ElementsAre(Pair("c", "v1")));
  EXPECT_FALSE(subscriptions.next(cache));
}

TEST(Subscriptions, UnsubscribeOnlyWhatNobodyWants) {
  Subscriptions subscriptions;
  const Cache cache;
  subscriptions.want(kRoutes, "r");
  subscriptions.want(kRoutes, "r");
  (void)subscriptions.next(cache);
  EXPECT_FALSE(subscriptions.unwant(kRoutes, "r"));
  EXPECT_FALSE(subscriptions.next(cache));
  EXPECT_TRUE(subscriptions.unwant(kRoutes, "r"));
  EXPECT_THAT(subscriptions.next(cache)->unsubscribe, ElementsAre("r"));
  EXPECT_FALSE(subscriptions.next(cache));
}

TEST(Subscriptions, ANameDroppedAndWantedAgainIsAskedForAnew) {
  Subscriptions subscriptions;
  const Cache cache;
  subscriptions.want(kRoutes, "r");
  (void)subscriptions.next(cache);
  subscriptions.unwant(kRoutes, "r");
  subscriptions.want(kRoutes, "r");
  EXPECT_THAT(subscriptions.next(cache)->unsubscribe, ElementsAre("r"));
  EXPECT_THAT(subscriptions.next(cache)->subscribe, ElementsAre("r"));
  EXPECT_FALSE(subscriptions.next(cache));
}

TEST(Subscriptions, ANameThatThePlaneNeverHeardOfIsDroppedSilently) {
  Subscriptions subscriptions;
  const Cache cache;
  subscriptions.want(kRoutes, "r");
  (void)subscriptions.next(cache);
  subscriptions.want(kRoutes, "s");
  subscriptions.unwant(kRoutes, "s");
  EXPECT_FALSE(subscriptions.next(cache));
}

TEST(Subscriptions, AllCanBeGivenUpAndWantedAgain) {
  Subscriptions subscriptions;
  const Cache cache;
  subscriptions.want_all(kListeners);
  subscriptions.want(kListeners, "on-demand");
  EXPECT_THAT(subscriptions.next(cache)->subscribe, ElementsAre("*", "on-demand"));
  EXPECT_TRUE(subscriptions.unwant_all(kListeners));
  subscriptions.want_all(kListeners);
  EXPECT_THAT(subscriptions.next(cache)->unsubscribe, ElementsAre("*"));
  EXPECT_THAT(subscriptions.next(cache)->subscribe, ElementsAre("*"));
  EXPECT_TRUE(subscriptions.is_just(kListeners, true, 1));
  EXPECT_FALSE(subscriptions.is_just(kListeners, false, 1));
}

}  // namespace
}  // namespace hawser::xds
