// SPDX-License-Identifier: Apache-2.0
#include "drain_fixture.h"

#include <nlohmann/json.hpp>

namespace hawser {
namespace {

nlohmann::json answer(FakeLoop& loop, const std::function<void(Drain::Done)>& call) {
  const auto got = std::make_shared<std::optional<Result<std::string>>>();
  call([got](Result<std::string> result) { *got = std::move(result); });
  loop.run_ready();
  if (!got->has_value()) return "none yet";
  if (!**got) return (*got)->error().id();
  return nlohmann::json::parse(***got);
}

}  // namespace

nlohmann::json DrainTest::begin(Drain::Order order) {
  return answer(loop, [&](Drain::Done done) { drain->begin(order, std::move(done)); });
}

nlohmann::json DrainTest::end() {
  return answer(loop, [&](Drain::Done done) { drain->end(std::move(done)); });
}

void DrainTest::close_listeners() {
  Drain::Order order;
  order.listeners = true;
  EXPECT_EQ(begin(order)["stage"], "listeners");
}

}  // namespace hawser
