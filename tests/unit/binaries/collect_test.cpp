// SPDX-License-Identifier: Apache-2.0
#include "binaries/collect.h"

#include "hawser/broker.pb.h"
#include "store_fixture.h"

namespace hawser::binaries {
namespace {

using proxy::BinaryLink;

class CollectTest : public StoreTest {
 protected:
  // What went, by letters.
  std::string collect_all(std::size_t keep = 0) {
    auto removed = collect(store_, root_, keep);
    if (!removed) return removed.error().id();
    std::string out;
    for (const auto& one : *removed) out += one.sha256[0];
    return out;
  }
  void record(const std::string& name, const std::string& sha256) {
    write("run/" + name + ".json", R"({"spec": {"binary_sha256": ")" + sha256 + R"("}, "ended": false})");
  }
};

TEST_F(CollectTest, WhatALinkNamesStays) {
  for (const char letter : {'a', 'b', 'c', 'd'}) add(letter, 1);
  ASSERT_TRUE(store_.point(BinaryLink::kCurrent, digest('a')));
  ASSERT_TRUE(store_.point(BinaryLink::kPrevious, digest('b')));
  ASSERT_TRUE(store_.point(BinaryLink::kLastGood, digest('c')));
  EXPECT_EQ(collect_all(), "d");
  EXPECT_EQ(left(), "abc");
  EXPECT_EQ(entries().size(), 6U);  // with the links: nothing is left of what went
}

TEST_F(CollectTest, WhatAGenerationIsRecordedWithStays) {
  for (const char letter : {'a', 'b', 'c'}) add(letter, 1);
  record("f1e0", digest('a'));
  record("f1e1", digest('c'));
  EXPECT_EQ(collect_all(), "b");
}

TEST_F(CollectTest, WhatTheGuardianWouldStartStays) {
  for (const char letter : {'a', 'b'}) add(letter, 1);
  broker::v1::LastGood good;
  good.set_binary_sha256(digest('b'));
  write("last_good.pb", good.SerializeAsString());
  EXPECT_EQ(collect_all(), "a");
}

TEST_F(CollectTest, TheNewestStay) {
  add('a', 3);
  add('b', 1);
  add('c', 2);
  add('d', 4);
  ASSERT_TRUE(store_.point(BinaryLink::kCurrent, digest('d')));
  EXPECT_EQ(collect_all(5), "");
  EXPECT_EQ(collect_all(3), "a");
  EXPECT_EQ(collect_all(1), "cb");
}

TEST_F(CollectTest, NothingGoesWhileSomeUseIsUnknown) {
  add('a', 1);
  record("f1e0", digest('b'));
  write("run/f1e1.json", "{");
  EXPECT_EQ(collect_all(), "HWS-CLI-003");
  std::filesystem::remove(root_ + "/run/f1e1.json");
  write("last_good.pb", "\xff\xff");
  EXPECT_EQ(collect_all(), "HWS-CLI-003");
  EXPECT_EQ(left(), "a");
}

TEST_F(CollectTest, AQuarantineOutlivesItsBinary) {
  add('a', 1);
  write("bin/" + digest('a') + "/binary.json", "{}");
  ASSERT_TRUE(store_.set_quarantine(digest('a'), {"it crashed", 1, "hawserd"}));
  EXPECT_EQ(collect_all(), "a");
  EXPECT_EQ(left(), "");
  EXPECT_EQ(store_.quarantine(digest('a'))->reason, "it crashed");
}

TEST_F(CollectTest, OneCommandAtATime) {
  auto first = lock(store_);
  ASSERT_TRUE(first);
  auto second = lock(store_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().id(), "HWS-CLI-047");
  first->reset();
  EXPECT_TRUE(lock(store_));
}

}  // namespace
}  // namespace hawser::binaries
