// SPDX-License-Identifier: Apache-2.0
#include "dial/dialler.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/fake_loop.h"

namespace hawser::dial {
namespace {

using namespace std::chrono_literals;

class DiallerTest : public testing::Test {
 protected:
  void make(std::vector<Address> addresses) {
    Dialler::Options options;
    options.who = "the control plane";
    options.addresses = std::move(addresses);
    options.policy.fail_back = 60s;
    Dialler::Ways ways;
    ways.look_up = [this](const std::string& name, Dialler::Ways::Found found) {
      ++look_ups;
      if (names.contains(name)) loop.post([found, result = names.at(name)] { found(result); });
      // else: a name service that never answers
    };
    ways.race = [this](const std::vector<Route>& routes, std::function<void(Race::Result)> done) {
      ++races;
      Race::Result result;
      result.winner = routes.size();
      result.causes.assign(routes.size(), "refused");
      for (std::size_t i = 0; i < routes.size() && result.winner == routes.size(); ++i)
        if (!dead.contains(routes[i].address)) result.winner = i;
      loop.post([done, result] { done(result); });
    };
    ways.probe = [this](const Route& route, std::function<void(bool)> done) {
      ++probes;
      loop.post([done, well = !dead.contains(route.address)] { done(well); });
    };
    dialler = std::make_unique<Dialler>(loop, options, ways);
    dialler->on_better([this](const std::string&) { ++better; });
  }
  Result<Route> next() {
    std::optional<Result<Route>> out;
    dialler->next([&out](Result<Route> route) { out = std::move(route); });
    for (int i = 0; i < 100 && !out; ++i) loop.advance(100ms);
    return out ? *out : Result<Route>(Error(Code::kAborted, "", "never"));
  }

  FakeLoop loop;
  std::map<std::string, std::vector<std::string>> names;
  std::set<std::string> dead;
  int look_ups = 0, races = 0, probes = 0, better = 0;
  std::unique_ptr<Dialler> dialler;
};

TEST_F(DiallerTest, ASingleAddressIsDialledWithoutARace) {
  make({{"10.0.0.1", 1}});
  EXPECT_EQ(next()->text(), "10.0.0.1:1");
  EXPECT_EQ(races, 0);
}

TEST_F(DiallerTest, OfSeveralTheOneThatAnswersIsTaken) {
  names["plane"] = {"fd00::1", "10.0.0.1"};
  dead = {"[fd00::1]:1"};
  make({{"plane", 1}});
  EXPECT_EQ(next()->text(), "10.0.0.1:1");
  EXPECT_EQ(look_ups, 1);
  EXPECT_EQ(next()->text(), "10.0.0.1:1");
  EXPECT_EQ(look_ups, 1) << "the name is known";
}

TEST_F(DiallerTest, ANameServiceThatNeverAnswersIsBoundedAndTold) {
  make({{"plane", 1}});
  const auto route = next();
  ASSERT_FALSE(route);
  EXPECT_EQ(route.error().id(), "HWS-DL-002");
}

TEST_F(DiallerTest, ANameServiceThatDiesLaterHoldsNothingUp) {
  names["plane"] = {"10.0.0.1"};
  make({{"plane", 1}});
  ASSERT_TRUE(next());
  names.clear();
  loop.advance(60s);
  EXPECT_EQ(next()->text(), "10.0.0.1:1");
}

TEST_F(DiallerTest, AllThatWasTriedIsTold) {
  dead = {"10.0.0.1:1", "10.0.0.2:1"};
  make({{"10.0.0.1", 1}, {"10.0.0.2", 1}});
  const auto route = next();
  ASSERT_FALSE(route);
  EXPECT_EQ(route.error().id(), "HWS-DL-001");
  EXPECT_NE(route.error().message().find("10.0.0.1:1: refused; 10.0.0.2:1: refused"), std::string::npos);
}

TEST_F(DiallerTest, ItFailsOverAndComesBack) {
  make({{"10.0.0.1", 1, 0}, {"10.0.0.2", 1, 1}});
  dead = {"10.0.0.1:1"};
  const Error gone(Code::kUnavailable, "X", "gone");
  for (int i = 0; i < 3; ++i) dialler->tried(*next(), gone);
  const auto second = next();
  EXPECT_EQ(second->text(), "10.0.0.2:1");
  dialler->tried(*second, std::nullopt);
  loop.advance(5min);
  EXPECT_GT(probes, 3);
  EXPECT_EQ(better, 0);
  dead.clear();
  loop.advance(70s);
  EXPECT_EQ(better, 0) << "not before it has been well for a minute";
  loop.advance(30s);
  EXPECT_GE(better, 1) << "and again until it is followed";
  const auto first = next();
  EXPECT_EQ(first->text(), "10.0.0.1:1");
  dialler->tried(*first, std::nullopt);
  const int so_far = probes;
  loop.advance(5min);
  EXPECT_EQ(probes, so_far) << "the best one needs no probe";
}

}  // namespace
}  // namespace hawser::dial
