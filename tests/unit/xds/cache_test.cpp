// SPDX-License-Identifier: Apache-2.0
#include "xds/cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hawser::xds {
namespace {

using testing::ElementsAre;
using testing::Pair;

ResourceBytes resource(const std::string& name, const std::string& body, const std::string& version = {}) {
  return {name, version, body, false};
}

TEST(Cache, AnUnchangedResourceStaysTheSameObject) {
  Cache cache;
  const auto first = cache.put("t", resource("a", "one")).resource;
  EXPECT_EQ(cache.put("t", resource("a", "one")).resource, first);
  const auto second = cache.put("t", resource("a", "two")).resource;
  EXPECT_NE(second->hash_hex(), first->hash_hex());
  EXPECT_EQ(second->hash_hex().size(), 32u);
  EXPECT_EQ(first->body, "one") << "whoever still holds the old one keeps it";
}

TEST(Cache, RemembersThatANameDoesntExistUntilItDoes) {
  Cache cache;
  cache.remove("t", "asked", true);
  cache.remove("t", "unasked", false);
  EXPECT_TRUE(cache.absent("t", "asked"));
  EXPECT_FALSE(cache.absent("t", "unasked"));
  cache.put("t", resource("asked", "x"));
  EXPECT_FALSE(cache.absent("t", "asked"));
}

TEST(Cache, CountsItsBytes) {
  Cache cache;
  cache.put("t", resource("a", "12345"));
  cache.put("t", resource("a", "123"));
  cache.put("t", resource("b", "12"));
  EXPECT_EQ(cache.size("t").resources, 2u);
  EXPECT_EQ(cache.size("t").bytes, 5u);
  cache.remove("t", "a", true);
  cache.forget("t", "b");
  EXPECT_EQ(cache.size("t").bytes, 0u);
  EXPECT_TRUE(cache.names("t").empty());
}

TEST(Cache, WhatWasAcceptedOutlivesAnUpdate) {
  Cache cache;
  const auto good = cache.put("t", resource("a", "good")).resource;
  cache.accept("t", "a", good);
  cache.put("t", resource("a", "bad"));
  EXPECT_EQ(cache.accepted("t", "a")->body, "good");
  cache.remove("t", "a", true);
  EXPECT_EQ(cache.accepted("t", "a")->body, "good");
  cache.accept("t", "a", nullptr);
  EXPECT_EQ(cache.accepted("t", "a"), nullptr);
}

TEST(Cache, APlaceIsGoodUntilSomethingIsErased) {
  Cache cache;
  const auto put = cache.put("t", resource("a", "good"));
  cache.put("t", resource("b", "other"));
  cache.accept("t", "a", put.resource, put.place);
  EXPECT_EQ(cache.accepted("t", "a"), put.resource);
  const auto late = cache.put("t", resource("b", "late"));
  cache.forget("t", "b");
  // As after a proxy's answer to what it has given up meanwhile: by name, since the entry is another one by now.
  cache.put("t", resource("b", "again"));
  cache.accept("t", "b", late.resource, late.place);
  EXPECT_EQ(cache.accepted("t", "b"), late.resource);
  EXPECT_EQ(cache.find("t", "b")->body, "again");
  EXPECT_EQ(cache.accepted("t", "a"), put.resource);
}

TEST(Cache, TellsThePlanesOwnVersions) {
  Cache cache;
  cache.put("t", resource("a", "x", "7"));
  cache.put("t", resource("b", "y"));
  EXPECT_THAT(cache.versions("t"), ElementsAre(Pair("a", "7"), Pair("b", "")));
}

TEST(Cache, ForgetsAllButTheNamesStillWanted) {
  Cache cache;
  cache.put("t", resource("a", "x"));
  cache.put("t", resource("b", "y"));
  EXPECT_TRUE(cache.set_synced("t"));
  EXPECT_FALSE(cache.set_synced("t"));
  cache.forget_all_but("t", {"b"});
  EXPECT_THAT(cache.names("t"), ElementsAre("b"));
  EXPECT_FALSE(cache.synced("t"));
}

}  // namespace
}  // namespace hawser::xds
