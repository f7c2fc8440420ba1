// SPDX-License-Identifier: Apache-2.0
#include "dial/selection.h"

#include <gtest/gtest.h>

namespace hawser::dial {
namespace {

using namespace std::chrono_literals;

std::vector<std::string> texts(const std::vector<Route>& routes) {
  std::vector<std::string> out;
  for (const auto& route : routes) out.push_back(route.text());
  return out;
}
using Texts = std::vector<std::string>;

class SelectionTest : public testing::Test {
 protected:
  Selection make(std::vector<Address> addresses, std::optional<Selection::Proxy> proxy = {}) {
    return Selection(std::move(addresses), std::move(proxy), policy);
  }
  Selection two_groups() { return make({{"10.0.0.2", 1, 1}, {"10.0.0.1", 1, 0}}); }

  Selection::Policy policy;
  Loop::Monotonic now{};
};

TEST_F(SelectionTest, TheBestGroupComesFirst) {
  EXPECT_EQ(texts(two_groups().candidates()), Texts{"10.0.0.1:1"});
}

TEST_F(SelectionTest, FamiliesAlternateInTheResolversOrder) {
  auto selection = make({{"plane", 15012}});
  EXPECT_EQ(selection.names_due(now), Texts{"plane"});
  selection.looked_up("plane", {"fd00::1", "fd00::2", "10.0.0.1"}, now);
  EXPECT_EQ(texts(selection.candidates()), (Texts{"[fd00::1]:15012", "10.0.0.1:15012", "[fd00::2]:15012"}));
}

TEST_F(SelectionTest, NamesAreLookedUpAgainAfterAWhileAndAfterAFailure) {
  auto selection = make({{"plane", 1}});
  selection.looked_up("plane", {"10.0.0.1"}, now);
  EXPECT_TRUE(selection.names_due(now + 29s).empty());
  EXPECT_EQ(selection.names_due(now + 30s), Texts{"plane"});
  selection.failed(selection.candidates().front());
  EXPECT_EQ(selection.names_due(now + 1s), Texts{"plane"});
  selection.looked_up("plane", {}, now + 1s);
  EXPECT_EQ(texts(selection.candidates()), Texts{"10.0.0.1:1"}) << "a failed look-up forgets nothing";
}

TEST_F(SelectionTest, TheOneThatFailedLeastGoesFirst) {
  auto selection = make({{"10.0.0.1", 1}, {"10.0.0.2", 1}});
  selection.failed(selection.candidates().front());
  EXPECT_EQ(texts(selection.candidates()), (Texts{"10.0.0.2:1", "10.0.0.1:1"}));
  selection.well(selection.candidates().front());
  EXPECT_EQ(texts(selection.candidates()).front(), "10.0.0.2:1");
}

TEST_F(SelectionTest, AfterFailuresInARowTheNextGroupIsUsedAndAfterTheLastTheFirst) {
  auto selection = two_groups();
  for (int i = 0; i < 2; ++i) selection.failed(selection.candidates().front());
  EXPECT_EQ(selection.priority(), 0u);
  selection.failed(selection.candidates().front());
  EXPECT_EQ(selection.priority(), 1u);
  for (int i = 0; i < 3; ++i) selection.group_failed();
  EXPECT_EQ(selection.priority(), 0u);
}

TEST_F(SelectionTest, ASuccessBetweenFailuresKeepsTheGroup) {
  auto selection = two_groups();
  for (int i = 0; i < 10; ++i) {
    const auto route = selection.candidates().front();
    selection.failed(route);
    selection.failed(route);
    selection.well(route);
  }
  EXPECT_EQ(selection.priority(), 0u);
}

TEST_F(SelectionTest, ABetterGroupIsGoneBackToWhenItHasBeenWellForAWhile) {
  auto selection = two_groups();
  EXPECT_FALSE(selection.to_probe());
  for (int i = 0; i < 3; ++i) selection.group_failed();
  selection.well(selection.candidates().front());
  ASSERT_EQ(selection.to_probe()->text(), "10.0.0.1:1");
  EXPECT_FALSE(selection.probed(true, now));
  EXPECT_FALSE(selection.probed(true, now + 59s));
  EXPECT_FALSE(selection.probed(false, now + 59500ms)) << "a failure begins the time anew";
  EXPECT_FALSE(selection.probed(true, now + 60s));
  EXPECT_TRUE(selection.probed(true, now + 120s));
  EXPECT_EQ(texts(selection.candidates()), Texts{"10.0.0.1:1"});
}

TEST_F(SelectionTest, AMoveThatFailsLeadsBackToWhatWorks) {
  auto selection = two_groups();
  for (int i = 0; i < 3; ++i) selection.group_failed();
  selection.well(selection.candidates().front());
  (void)selection.probed(true, now);
  ASSERT_TRUE(selection.probed(true, now + 60s));
  selection.failed(selection.candidates().front());
  EXPECT_EQ(selection.priority(), 1u);
  EXPECT_FALSE(selection.probed(true, now + 61s)) << "and the time begins anew";
}

TEST_F(SelectionTest, AnHttpProxyIsDialledAndAskedForTheNameAsItIs) {
  auto selection = make({{"istiod.example", 15012, 0, true}, {"10.0.0.9", 15012, 0, false}},
                        Selection::Proxy{"proxy.example", 3128, "user:secret"});
  EXPECT_EQ(selection.names_due(now), Texts{"proxy.example"}) << "the server's name is the proxy's business";
  selection.looked_up("proxy.example", {"10.9.9.9"}, now);
  const auto routes = selection.candidates();
  ASSERT_EQ(routes.size(), 2u);
  EXPECT_EQ(routes[0].address, "10.9.9.9:3128");
  EXPECT_EQ(routes[0].connect_to, "istiod.example:15012");
  EXPECT_EQ(routes[0].text(), "istiod.example:15012 by way of 10.9.9.9:3128");
  EXPECT_EQ(routes[0].text().find("secret"), std::string::npos);
  EXPECT_EQ(routes[1].text(), "10.0.0.9:15012");
}

}  // namespace
}  // namespace hawser::dial
