// SPDX-License-Identifier: Apache-2.0
// What the plane hears of the proxies' answers, and what it mustn't hear.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "messages.h"
#include "xds/hub.h"

namespace hawser::xds::test {
namespace {

using testing::IsEmpty;

class HubAnswersTest : public testing::Test {
 protected:
  HubAnswersTest() {
    hub.upstream_opened();
    (void)upstream();
  }
  std::vector<Request> upstream() {
    std::vector<Request> out;
    while (auto request = hub.next_upstream()) out.push_back(std::move(*request));
    return out;
  }
  void plane(std::string_view type, const std::string& nonce, const std::map<std::string, std::string>& resources) {
    Response response = parsed(plane_response(type, nonce, resources));
    const auto target = hub.forward_to(response.envelope);
    hub.ingest(std::move(response), target, now);
  }
  // A proxy that comes when all is in the cache already; the nonce of what it's sent.
  std::string served_from_cache(Hub::Id id, const std::string& generation) {
    hub.open(id, generation, now);
    EXPECT_TRUE(hub.on_request(id, subscribe(kClusters), now));
    const auto message = hub.next_for(id, now);
    return message ? decoded(message->bytes).nonce() : "";
  }

  Hub hub{{kClusters, kListeners}};
  Loop::Monotonic now{};
};

TEST_F(HubAnswersTest, ARejectionOfCachedContentByTheServingProxyIsReported) {
  plane(kClusters, "n1", {{"c", "bad"}});
  ASSERT_EQ(upstream().size(), 1u) << "acknowledged: no proxy was there";
  const auto nonce = served_from_cache(1, "f1e0");
  ASSERT_NE(nonce, "n1");
  ASSERT_TRUE(hub.on_request(1, nack(kClusters, nonce, "bad cluster"), now));
  const auto answers = upstream();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].nonce, "n1");
  EXPECT_EQ(error_message(*answers[0].error_detail), "bad cluster");
  EXPECT_TRUE(answers[0].subscribe.empty() && answers[0].unsubscribe.empty() && answers[0].initial_versions.empty());
}

TEST_F(HubAnswersTest, ARejectionOfCachedContentIsTheServingProxysBusinessAlone) {
  plane(kClusters, "n1", {{"c", "bad"}});
  (void)upstream();
  hub.set_serving("f1e0");
  const auto nonce = served_from_cache(2, "f2e0");
  ASSERT_TRUE(hub.on_request(2, nack(kClusters, nonce, "not for me"), now));
  EXPECT_THAT(upstream(), IsEmpty());
}

TEST_F(HubAnswersTest, AnAcknowledgementOfCachedContentIsNoNews) {
  plane(kClusters, "n1", {{"c", "good"}});
  (void)upstream();
  const auto nonce = served_from_cache(1, "f1e0");
  ASSERT_TRUE(hub.on_request(1, ack(kClusters, nonce), now));
  EXPECT_THAT(upstream(), IsEmpty());
}

TEST_F(HubAnswersTest, ANonceOfAnEarlierStreamIsNeverTold) {
  plane(kClusters, "n1", {{"c", "bad"}});
  (void)upstream();
  hub.upstream_closed();
  hub.upstream_opened();
  (void)upstream();
  const auto nonce = served_from_cache(1, "f1e0");
  ASSERT_TRUE(hub.on_request(1, nack(kClusters, nonce, "bad cluster"), now));
  EXPECT_THAT(upstream(), IsEmpty());
}

TEST_F(HubAnswersTest, APlaneThatDoesntReadIsOwedABoundedNumberOfAnswers) {
  for (int i = 0; i < 5000; ++i) plane(kClusters, std::to_string(i), {{"c", "x"}});
  plane(kListeners, "l", {});
  const auto answers = upstream();
  EXPECT_LE(answers.size(), Hub::kMaxAnswers + 1);
  EXPECT_EQ(answers[answers.size() - 2].nonce, "4999") << "the newest are kept";
  EXPECT_EQ(answers.back().type_url, kListeners);
}

TEST_F(HubAnswersTest, ATypeThatNobodyAskedForIsNeitherKeptNorAnswered) {
  const std::string strange = "type.googleapis.com/no.such.Type";
  Response response = parsed(plane_response(strange, "n1", {{"a", "x"}}, {"b"}));
  hub.ingest(std::move(response), std::nullopt, now);
  EXPECT_THAT(upstream(), IsEmpty());
  EXPECT_THAT(hub.cache().types(), testing::Not(testing::Contains(strange)));
}

}  // namespace
}  // namespace hawser::xds::test
