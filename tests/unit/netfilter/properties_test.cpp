// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Random configurations and packets (rapidcheck): the laws hold for each. RC_PARAMS="seed=N" repeats a run.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "laws.h"
#include "netfilter/explain.h"
#include "world.h"
#include "xtables_walk.h"

namespace hawser::netfilter {
namespace {

using world::Scenario;

class Drawn : public world::Draw {
 public:
  std::size_t below(std::size_t limit) override { return *rc::gen::inRange<std::size_t>(0, limit); }
};

struct Case {
  Scenario scenario;
  std::vector<Packet> packets;
};
std::ostream& operator<<(std::ostream& out, const Case& item) {
  return out << item.scenario;
}

rc::Gen<Case> cases(std::size_t packets) {
  return rc::gen::exec([packets] {
    Drawn draw;
    Case out{world::draw_scenario(draw), {}};
    for (std::size_t i = 0; i < packets; ++i) out.packets.push_back(world::draw_packet(draw, out.scenario));
    return out;
  });
}

constexpr std::size_t kPackets = 40;

class Properties : public ::testing::TestWithParam<std::size_t> {};

TEST_P(Properties, Hold) {
  const laws::Law& law = laws::all()[GetParam()];
  EXPECT_TRUE(rc::check(law.name, [&law] {
    const Case item = *cases(kPackets);
    const auto plan = compile(item.scenario.intent, item.scenario.guard);
    RC_ASSERT(plan.has_value());
    for (const Packet& packet : item.packets) {
      const std::string broken = law.broken(item.scenario, *plan, packet);
      if (!broken.empty()) RC_FAIL(broken);
    }
  }));
}

// A divert of xtables is a mark and a RETURN.
Outcome::Kind as_xtables(Outcome::Kind kind) {
  return kind == Outcome::Kind::kDiverted ? Outcome::Kind::kLeft : kind;
}

TEST(Xtables, AnswersEveryPacketAsTheRulesDo) {
  EXPECT_TRUE(rc::check("nftables' rules and xtables' entries answer alike", [] {
    const Case item = *cases(kPackets);
    const auto plan = compile(item.scenario.intent, item.scenario.guard);
    RC_ASSERT(plan.has_value());
    const auto form = emit_xtables(*plan);
    if (!form) RC_FAIL(form.error().to_string());
    for (const Packet& packet : item.packets) {
      const Outcome rules = evaluate(*plan, packet);
      const Outcome entries = walk_xtables(*form, packet);
      const bool same = as_xtables(rules.kind) == entries.kind && rules.port == entries.port &&
                        rules.mark == entries.mark && rules.connection_mark == entries.connection_mark &&
                        rules.zone == entries.zone;
      if (!same) RC_FAIL(to_text(explain(*plan, packet)) + "but by xtables: " + to_string(entries.kind));
    }
  }));
}

INSTANTIATE_TEST_SUITE_P(Laws, Properties, ::testing::Range(std::size_t{0}, laws::all().size()),
                         [](const auto& law) { return "Law" + std::to_string(law.param); });

}  // namespace
}  // namespace hawser::netfilter
