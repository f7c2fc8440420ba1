// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "sample.h"

namespace hawser::netfilter {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Plan plan_for(const Intent& intent) {
  auto plan = compile(intent);
  EXPECT_TRUE(plan);
  return plan ? *plan : Plan{};
}

Packet packet_to(const std::string& address, std::uint16_t port) {
  Packet packet;
  packet.destination = parse_cidr(address).value();
  packet.destination_port = port;
  return packet;
}

TEST(Explain, NamesTheOutcomeTheRuleAndWhyItExists) {
  const Plan plan = plan_for(basic());
  Packet packet = packet_to("10.9.8.7", 22);
  packet.uid = 1000;
  const Explanation ssh = explain(plan, packet);
  EXPECT_EQ(ssh.packet, "out tcp any → 10.9.8.7:22, uid 1000");
  EXPECT_THAT(ssh.outcome, HasSubstr("left alone"));
  ASSERT_TRUE(ssh.by);
  EXPECT_EQ(ssh.by->purpose, "ssh");
  EXPECT_EQ(ssh.by->why, reason(Purpose::kSsh));
  EXPECT_EQ(ssh.by->rule, to_string(plan.rules[ssh.by->number - 1]));
  packet.destination_port = 80;
  EXPECT_EQ(explain(plan, packet).outcome, "redirected to port 15001, the proxy's outbound listener");
}

TEST(Explain, SaysOnWhatItDepends) {
  const Plan plan = plan_for(basic());
  const Explanation open = explain(plan, packet_to("10.9.8.7", 80));
  ASSERT_FALSE(open.otherwise.empty());
  EXPECT_EQ(open.otherwise.front().condition, "its owner's uid is 881 or 882");
  EXPECT_EQ(open.otherwise.front().outcome, "left alone");
  EXPECT_EQ(open.otherwise.front().by.purpose, "exempt_user");
}

TEST(Explain, OfAnExemptOwnerItSaysWhatHappensToOthers) {
  const Plan plan = plan_for(basic());
  Packet packet = packet_to("fd00::7", 80);
  packet.uid = 882;
  const Explanation proxy = explain(plan, packet);
  EXPECT_EQ(proxy.by->purpose, "exempt_user");
  ASSERT_FALSE(proxy.otherwise.empty());
  EXPECT_THAT(proxy.otherwise.back().outcome, HasSubstr("15001"));
  EXPECT_EQ(proxy.otherwise.back().by.purpose, "redirect");
}

TEST(Explain, TheTextHasAllOfIt) {
  const Plan plan = plan_for(basic());
  const std::string text = to_text(explain(plan, packet_to("fd00::7", 443)));
  EXPECT_THAT(text, HasSubstr("out tcp any → [fd00::7]:443\n"));
  EXPECT_THAT(text, HasSubstr("redirected to port 15001"));
  EXPECT_THAT(text, HasSubstr(reason(Purpose::kRedirect)));
  EXPECT_THAT(text, HasSubstr("if its owner's uid is 881 or 882: left alone"));
}

TEST(Explain, AnEstablishedConnectionGoesOn) {
  const Plan plan = plan_for(basic());
  Packet packet = packet_to("10.9.8.7", 80);
  packet.state = State::kEstablished;
  EXPECT_THAT(to_text(explain(plan, packet)), HasSubstr("as its connection's first packet"));
}

TEST(Explain, EveryPurposeHasASentenceOfItsOwn) {
  std::set<std::string> seen;
  for (int i = 0; i <= static_cast<int>(Purpose::kRedirect); ++i) {
    const std::string sentence = reason(static_cast<Purpose>(i));
    EXPECT_THAT(sentence, ::testing::EndsWith(".")) << i;
    EXPECT_TRUE(seen.insert(sentence).second) << sentence;
  }
}

TEST(PlanText, HasEveryRuleWithItsNumberBelowItsHook) {
  const Plan plan = plan_for(basic());
  const std::string text = plan_text(plan);
  EXPECT_THAT(text, HasSubstr("IPv4 and IPv6; outbound to port 15001; inbound to port 15006\ngeneration "));
  EXPECT_THAT(text, HasSubstr("\n    1  " + to_string(plan.rules.front()) + "\n"));
  for (const Rule& rule : plan.rules) EXPECT_THAT(text, HasSubstr("  " + to_string(rule) + "\n"));
  EXPECT_LT(text.find("nat, output"), text.find("nat, prerouting"));
  EXPECT_THAT(text, Not(HasSubstr("mangle")));
}

TEST(PlanDiff, ShowsWhatGoesAndWhatComes) {
  EXPECT_EQ(diff_text({"a", "b"}, {"a", "b"}), "");
  EXPECT_EQ(diff_text({"a", "b", "c"}, {"a", "c"}), "  a\n- b\n  c\n");
  EXPECT_EQ(diff_text({"a", "c"}, {"a", "b", "c"}), "  a\n+ b\n  c\n");
  EXPECT_EQ(diff_text({}, {"a"}), "+ a\n");
  EXPECT_EQ(diff_text({"a", "b"}, {}), "- a\n- b\n");
  EXPECT_EQ(diff_text({"1", "2", "3", "4", "a", "m", "b", "9"}, {"1", "2", "3", "4", "x", "m", "y", "9"}),
            "  2\n  3\n  4\n- a\n+ x\n  m\n- b\n+ y\n  9\n");
  EXPECT_EQ(diff_text({"a", "a"}, {"a"}), "  a\n- a\n");
}

}  // namespace
}  // namespace hawser::netfilter
