// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "certs/key_store.h"
#include "certs/utc.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

using test::around;
using test::kSpiffe;
using ::testing::HasSubstr;

const Loop::Wall kWritten = wall_of(1'700'000'000);
const Loop::Wall kPlan = kWritten + std::chrono::hours(11);

// What other versions wrote, and will write: their meta.json beside the same three PEM files.
class KeyStoreFormat : public ::testing::Test {
 protected:
  KeyStoreFormat() {
    store.emplace(*KeyStore::open(state.path(), here));
    identity = ca.identity(kSpiffe, around(kWritten));
    EXPECT_TRUE(store->store(*identity, kPlan));
  }
  nlohmann::json meta() const {
    return nlohmann::json::parse(file::read_bounded(state.at("gen-1/meta.json"), 1 << 16).value());
  }
  void write(const nlohmann::json& meta) const {
    std::ofstream(state.at("gen-1/meta.json"), std::ios::trunc) << meta.dump();
  }

  Machine here{"machine", "", "boot-1"};
  test::TestCa ca{"mesh"};
  test::TempFolder state;
  std::optional<KeyStore> store;
  IdentityPtr identity;
};

TEST_F(KeyStoreFormat, KeepsThePlanAndKnowsTheBoot) {
  auto loaded = store->load();
  EXPECT_EQ(loaded.renewal, kPlan);
  EXPECT_TRUE(loaded.this_boot);
  store.reset();
  store.emplace(*KeyStore::open(state.path(), {"machine", "", "boot-2"}));
  loaded = store->load();
  EXPECT_NE(loaded.identity, nullptr);
  EXPECT_FALSE(loaded.this_boot);
}

TEST_F(KeyStoreFormat, ReadsTheVersionBefore) {
  auto old = meta();
  old["schema_version"] = 1;
  old.erase("min_reader");
  old.erase("renewal");
  old["machine"].erase("boot");
  write(old);
  const auto loaded = store->load();
  ASSERT_NE(loaded.identity, nullptr);
  EXPECT_EQ(loaded.identity->serial, identity->serial);
  EXPECT_EQ(loaded.renewal, std::nullopt);
  EXPECT_TRUE(loaded.notes.empty());
}

TEST_F(KeyStoreFormat, ReadsTheNextOneWhereThatSaysSo) {
  auto next = meta();
  next["schema_version"] = 3;
  next["min_reader"] = 2;
  next["novelty"] = true;
  write(next);
  EXPECT_NE(store->load().identity, nullptr);
}

TEST_F(KeyStoreFormat, PutsAsideWhatIsTooNew) {
  for (const bool says : {true, false}) {
    auto next = meta();
    next["schema_version"] = 7;
    if (says)
      next["min_reader"] = 7;
    else
      next.erase("min_reader");
    write(next);
    const auto loaded = store->load();
    EXPECT_EQ(loaded.identity, nullptr);
    ASSERT_FALSE(loaded.notes.empty());
    EXPECT_EQ(loaded.notes.front().id(), "HWS-ID-004");
    EXPECT_THAT(loaded.notes.front().message(), HasSubstr("written by a newer Hawser (format 7)"));
    ASSERT_TRUE(store->store(*identity));  // and the next one is whole again
    EXPECT_NE(store->load().identity, nullptr);
    if (says) {
      ASSERT_TRUE(store->erase());
      ASSERT_TRUE(store->store(*identity, kPlan));
    }
  }
}

TEST_F(KeyStoreFormat, WhatIsNoFormatIsDamage) {
  for (const char* text : {"", "[]", "{}", R"({"schema_version": "2", "sha256": {}})", R"({"sha256": 5})"}) {
    std::ofstream(state.at("gen-1/meta.json"), std::ios::trunc) << text;
    const auto loaded = store->load();
    EXPECT_EQ(loaded.identity, nullptr) << text;
    EXPECT_EQ(loaded.notes.front().id(), "HWS-ID-004") << text;
    ASSERT_TRUE(store->erase());
    ASSERT_TRUE(store->store(*identity));
  }
}

}  // namespace
}  // namespace hawser::certs
