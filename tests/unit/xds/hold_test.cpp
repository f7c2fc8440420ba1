// SPDX-License-Identifier: Apache-2.0
#include "xds/hold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "messages.h"
#include "xds/hub.h"

namespace hawser::xds::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

constexpr Loop::Monotonic kNow{100s};

Hold hold(const std::string& generation, Hold::What what = Hold::What::kUpdates, Loop::Duration time = 30s) {
  return {generation, what, "the canary is being checked", kNow + time, Hold::By::kOperator};
}

TEST(HoldBookTest, NeedsAGenerationATimeLimitAndAReason) {
  HoldBook book;
  const auto refused = [&](const Hold& wrong) {
    const auto added = book.add(wrong, kNow);
    return !added && added.error().id() == "HWS-XDS-032";
  };
  for (const char* name : {"", "f1", "e1", "f1e", "fe1", "f1e0x", "F1E0", "f1e00000000000000000000000"})
    EXPECT_TRUE(refused(hold(name))) << name;
  EXPECT_TRUE(refused(hold("f1e0", Hold::What::kUpdates, 0s)));
  EXPECT_TRUE(refused(hold("f1e0", Hold::What::kUpdates, 3601s)));
  Hold silent = hold("f1e0");
  silent.reason.clear();
  EXPECT_TRUE(refused(silent));
  silent.reason = std::string(HoldBook::kMaxReason + 1, 'x');
  EXPECT_TRUE(refused(silent));
  EXPECT_TRUE(book.empty());
}

TEST(HoldBookTest, IsBoundedAndAnotherOfTheSameKindReplacesTheFirst) {
  HoldBook book;
  for (std::size_t i = 0; i < HoldBook::kMaxHolds; ++i) EXPECT_TRUE(book.add(hold("f1e" + std::to_string(i)), kNow));
  EXPECT_FALSE(book.add(hold("f2e0"), kNow));
  EXPECT_TRUE(book.add(hold("f1e0", Hold::What::kUpdates, 60s), kNow));
  EXPECT_EQ(book.all().size(), HoldBook::kMaxHolds);
  EXPECT_EQ(book.deadline(), kNow + 30s);
  EXPECT_EQ(book.take_expired(kNow + 30s).size(), HoldBook::kMaxHolds - 1);
  EXPECT_EQ(book.deadline(), kNow + 60s);
  EXPECT_EQ(book.remove("f1e0", Hold::By::kOperator), 1u);
  EXPECT_EQ(book.remove("f1e0", Hold::By::kOperator), 0u);
}

TEST(HoldBookTest, NobodyReleasesWhatAnotherHolds) {
  HoldBook book;
  Hold mine = hold("f1e0", Hold::What::kListeners);
  mine.by = Hold::By::kHandOver;
  ASSERT_TRUE(book.add(mine, kNow));
  ASSERT_TRUE(book.add(hold("f1e0", Hold::What::kListeners), kNow));
  EXPECT_EQ(book.all().size(), 2u);
  EXPECT_EQ(book.remove("f1e0", Hold::By::kHandOver), 1u);
  EXPECT_TRUE(book.withholds("f1e0", kListenerType)) << "the operator's is still there";
  EXPECT_EQ(book.remove("f1e0", Hold::By::kHandOver), 0u);
  EXPECT_EQ(book.remove("f1e0", Hold::By::kOperator), 1u);
  EXPECT_FALSE(book.withholds("f1e0", kListenerType));
}

class HeldHubTest : public testing::Test {
 protected:
  HeldHubTest() {
    hub.upstream_opened();
    for (const Hub::Id id : {1, 2}) {
      hub.open(id, id == 1 ? "f1e0" : "f2e0", now);
      EXPECT_TRUE(hub.on_request(id, subscribe(kClusters), now));
      EXPECT_TRUE(hub.on_request(id, subscribe(kListeners), now));
    }
    hub.set_serving("f1e0");
    while (hub.next_upstream()) {
    }
  }
  // As the core does it; says who got the plane's own message.
  std::optional<Hub::Id> plane(const std::string& type, const std::string& nonce, const std::string& body) {
    Response response = parsed(plane_response(type, nonce, {{"x", body}}));
    const auto target = hub.forward_to(response.envelope);
    hub.ingest(std::move(response), target, now);
    return target;
  }
  // Types and bodies of everything that is due.
  std::vector<std::string> due(Hub::Id id) {
    std::vector<std::string> out;
    while (const auto message = hub.next_for(id, now)) {
      const auto response = decoded(message->bytes);
      for (const auto& resource : response.resources())
        out.push_back(short_name(response.type_url()) + " " + resource.resource());
    }
    return out;
  }

  Hub hub{{kClusters, kListeners}};
  Loop::Monotonic now = kNow;
};

TEST_F(HeldHubTest, UpdatesAreWithheldFromOneGenerationAndReachTheOther) {
  ASSERT_TRUE(hub.holds().add(hold("f2e0"), now));
  EXPECT_EQ(plane(kClusters, "n1", "one"), 1u) << "the serving one isn't held";
  EXPECT_EQ(plane(kClusters, "n2", "two"), 1u);
  EXPECT_THAT(due(2), ElementsAre());
  hub.holds().remove("f2e0", Hold::By::kOperator);
  EXPECT_THAT(due(2), ElementsAre("Cluster two")) << "only the newest";
}

TEST_F(HeldHubTest, TheServingGenerationCanBeHeldAndThePlaneIsAnsweredAllTheSame) {
  ASSERT_TRUE(hub.holds().add(hold("f1e0"), now));
  EXPECT_EQ(plane(kClusters, "n1", "one"), std::nullopt);
  const auto answer = hub.next_upstream();
  ASSERT_TRUE(answer) << "a hold never stalls the plane";
  EXPECT_EQ(answer->nonce, "n1");
  EXPECT_THAT(due(1), ElementsAre());
  EXPECT_THAT(due(2), ElementsAre("Cluster one"));
  hub.holds().remove("f1e0", Hold::By::kOperator);
  EXPECT_THAT(due(1), ElementsAre("Cluster one"));
  EXPECT_EQ(plane(kClusters, "n2", "two"), 1u) << "and the plane's own messages pass again";
}

TEST_F(HeldHubTest, OnlyListenersCanBeWithheld) {
  ASSERT_TRUE(hub.holds().add(hold("f2e0", Hold::What::kListeners), now));
  plane(kClusters, "n1", "c");
  plane(kListeners, "n2", "l");
  EXPECT_THAT(due(2), ElementsAre("Cluster c"));
  hub.holds().remove("f2e0", Hold::By::kOperator);
  EXPECT_THAT(due(2), ElementsAre("Listener l"));
}

TEST_F(HeldHubTest, AGenerationThatIsntThereYetCanBeHeld) {
  plane(kListeners, "n1", "l");
  ASSERT_TRUE(hub.holds().add(hold("f1e1", Hold::What::kListeners), now));
  hub.open(3, "f1e1", now);
  ASSERT_TRUE(hub.on_request(3, subscribe(kListeners), now));
  EXPECT_THAT(due(3), ElementsAre());
  EXPECT_EQ(hub.streams_of("f1e1"), 1u);
}

TEST_F(HeldHubTest, TheTimeLimitIsADeadlineOfTheHub) {
  ASSERT_TRUE(hub.holds().add(hold("f2e0", Hold::What::kUpdates, 5s), now));
  plane(kClusters, "n1", "c");
  ASSERT_TRUE(hub.deadline());
  EXPECT_LE(*hub.deadline(), now + 5s);
  now += 5s;
  EXPECT_THAT(hub.holds().take_expired(now), testing::SizeIs(1));
  EXPECT_THAT(due(2), ElementsAre("Cluster c"));
}

}  // namespace
}  // namespace hawser::xds::test
