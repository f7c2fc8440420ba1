// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What emit_nft() says, told to the real kernel in a namespace of its own, and read back.
#include "netfilter/nft_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "in_namespace.h"
#include "netfilter/cgroup.h"
#include "netfilter/routed_backend.h"

namespace hawser::netfilter {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

Cidr cidr(const char* text) {
  return parse_cidr(text).value();
}

Action action(Action::Kind kind, std::uint16_t port = 0, std::uint32_t mark = 0, std::uint16_t zone = 0) {
  return {kind, port, mark, zone};
}

Plan plan_of(std::vector<Rule> rules, const std::string& digest = "0123") {
  Plan plan;
  plan.rules = std::move(rules);
  plan.digest = digest;
  plan.outbound = plan.inbound = plan.ipv4 = plan.ipv6 = true;
  return plan;
}

// All that rule.h can say, with the line that nft makes of it.
struct Said {
  Hook hook;
  Match match;
  Action action;
  const char* listed;
};

std::vector<Said> matches() {
  const Action leave;
  const Hook out = Hook::kOutput;
  const Hook in = Hook::kPrerouting;
  const Hook mangle = Hook::kManglePrerouting;
  std::vector<Said> all;
  const auto say = [&](Hook hook, const char* listed, const std::function<void(Match&)>& fill) {
    all.push_back({hook, {}, leave, listed});
    fill(all.back().match);
  };
  say(out, "counter name", [](Match&) {});
  say(out, "meta nfproto 2 ", [](Match& m) { m.family = Family::kIpv4; });
  say(out, "meta l4proto 6 ", [](Match& m) { m.protocol = Protocol::kTcp; });
  say(out, "meta l4proto 17 ", [](Match& m) { m.protocol = Protocol::kUdp; });
  say(out, "meta l4proto != 6 ", [](Match& m) { m.protocol = Protocol::kNotTcp; });
  say(in, "tcp flags != 0x2 / 0x1,0x2,0x4,0x10 ", [](Match& m) { m.midstream = true; });
  say(mangle, "ct state 0x1 ", [](Match& m) { m.tracked = Tracked::kInvalid; });
  say(mangle, "ct state 0x2,0x4 ", [](Match& m) { m.tracked = Tracked::kEstablished; });
  say(in, "fib daddr type 2 ", [](Match& m) { m.local = true; });
  say(in, "fib daddr type != 2 ", [](Match& m) { m.not_local = true; });
  say(in, "iifname \"lo\" ", [](Match& m) { m.interfaces = {"lo"}; });
  say(out, "oifname \"eth*\" ", [](Match& m) { m.interfaces = {"eth*"}; });
  say(out, "oifname { \"docker0\", \"eth*\" } ", [](Match& m) { m.interfaces = {"eth*", "docker0"}; });
  say(out, "ip saddr 127.0.0.6 ", [](Match& m) {
    m.family = Family::kIpv4;
    m.sources = {cidr("127.0.0.6")};
  });
  say(out, "ip6 daddr != ::1 ", [](Match& m) {
    m.family = Family::kIpv6;
    m.not_destinations = {cidr("::1")};
  });
  say(out, "ip daddr @out_redirect4 ", [](Match& m) {
    m.family = Family::kIpv4;
    m.destinations = {cidr("10.0.0.0/8"), cidr("192.168.0.0/16"), cidr("10.1.0.0/16")};
  });
  say(out, "udp sport 15053 ", [](Match& m) {
    m.protocol = Protocol::kUdp;
    m.source_ports = {{15053, 15053}};
  });
  say(out, "tcp dport { 80, 90-99 } ", [](Match& m) {
    m.protocol = Protocol::kTcp;
    m.destination_ports = {{80, 80}, {90, 99}};
  });
  say(out, "tcp dport != { 53, 15008 } ", [](Match& m) {
    m.protocol = Protocol::kTcp;
    m.not_destination_ports = {{53, 53}, {15008, 15008}};
  });
  say(out, "meta skuid { 881, 882 } ", [](Match& m) { m.uids = {881, 882}; });
  say(out, "meta skuid 4001-4010 ", [](Match& m) { m.uids = {{4001, 4010}}; });
  say(out, "meta skuid { 881, 4001-4010 } ", [](Match& m) { m.uids = {881, {4001, 4010}}; });
  say(out, "meta skgid 882 ", [](Match& m) { m.gids = {882}; });
  say(out, "meta skgid != { 7, 8 } ", [](Match& m) { m.not_gids = {7, 8}; });
  say(out, "meta mark 0x00000539 ", [](Match& m) { m.marks = {{0x539}}; });
  say(out, "meta mark & 0x00000fff == 0x00000539 ", [](Match& m) { m.marks = {{0x539, 0xfff}}; });
  say(out, "meta mark { 0x00000001, 0x00000002 } ", [](Match& m) { m.marks = {{1}, {2}}; });
  say(mangle, "meta mark != 0x0000053a ", [](Match& m) { m.not_marks = {{0x53a}}; });
  say(mangle, "meta mark & 0x0000ffff != 0x0000053a ", [](Match& m) { m.not_marks = {{0x53a, 0xffff}}; });
  say(Hook::kMangleOutput, "ct mark 0x00000539 ", [](Match& m) { m.connection_marks = {{0x539}}; });
  return all;
}

std::vector<Said> actions() {
  Match any;
  Match tcp;
  tcp.protocol = Protocol::kTcp;
  Match dns;
  dns.protocol = Protocol::kUdp;
  dns.destination_ports = {{53, 53}};
  Match tcp6 = tcp;
  tcp6.family = Family::kIpv6;
  using Kind = Action::Kind;
  return {
      {Hook::kOutput, any, {}, "return comment"},
      {Hook::kOutput, tcp, action(Kind::kRedirect, 15001), "redirect to :15001 "},
      {Hook::kOutput, dns, action(Kind::kRedirect, 15053),
       "udp dport 53 counter name \"out_redirect\" redirect to :15053 "},
      {Hook::kPrerouting, tcp, action(Kind::kRefuse), "reject with tcp reset "},
      {Hook::kManglePrerouting, any, action(Kind::kDrop), "drop comment"},
      {Hook::kManglePrerouting, tcp6, action(Kind::kTproxy, 15006, 0x539),
       "meta nfproto 10 meta l4proto 6 counter name \"in_redirect\" tproxy ip6 to :15006 meta mark set 0x00000539 "
       "return "},
      {Hook::kManglePrerouting, any, action(Kind::kDivert, 0, 0x539), "meta mark set 0x00000539 return "},
      {Hook::kMangleOutput, any, action(Kind::kMark, 0, 0x53a), "meta mark set 0x0000053a comment"},
      {Hook::kManglePrerouting, any, action(Kind::kSaveMark), "ct mark set meta mark "},
      {Hook::kMangleOutput, any, action(Kind::kRestoreMark), "meta mark set ct mark "},
      {Hook::kRawOutput, dns, action(Kind::kZone, 0, 0, 2),
       "udp dport 53 counter name \"out_redirect\" ct zone set 2 "},
      {Hook::kRawPrerouting, any, action(Kind::kZone, 0, 0, 1), "ct zone set 1 "},
  };
}

Rule rule_of(const Said& said) {
  return {said.hook, Purpose::kRedirect, said.match, said.action};
}

TEST(NftBackend, TheKernelTakesAllThatARuleCanSay) {
  in_namespace([] {
    auto backend = NftBackend::make();
    ASSERT_TRUE(backend) << backend.error().to_string();
    std::vector<Rule> together;
    auto all = matches();
    for (const Said& said : actions()) all.push_back(said);
    for (const Said& said : all) {
      const Plan plan = plan_of({rule_of(said)}, std::to_string(together.size()));
      const auto applied = (*backend)->apply(plan);
      ASSERT_TRUE(applied) << said.listed << ": " << applied.error().to_string() << emit_nft(plan, Existing::kNothing);
      EXPECT_THAT((*backend)->observe()->text, HasSubstr(said.listed)) << emit_nft(plan, Existing::kNothing);
      together.push_back(rule_of(said));
    }
    const auto applied = (*backend)->apply(plan_of(together));
    EXPECT_TRUE(applied) << applied.error().to_string();
    const auto removed = (*backend)->remove_rules();
    EXPECT_TRUE(removed && (*backend)->remove_anchor());
    EXPECT_EQ(output_of("nft list ruleset"), "");
  });
}

TEST(NftBackend, IsTwoTablesWhereTheKernelHasNoNatInInetTables) {
  in_namespace([] {
    auto backend = NftBackend::make({}, {}, {}, NftBackend::Succession::kAdopt, Layout::kSplit);
    ASSERT_TRUE(backend) << backend.error().to_string();
    std::vector<Rule> together;
    for (const Said& said : matches()) together.push_back(rule_of(said));
    for (const Said& said : actions()) together.push_back(rule_of(said));
    const auto applied = (*backend)->apply(plan_of(together));
    ASSERT_TRUE(applied) << applied.error().to_string();
    const std::string ruleset = output_of("nft list ruleset");
    EXPECT_THAT(ruleset, HasSubstr("table ip hawser "));
    EXPECT_THAT(ruleset, HasSubstr("table ip6 hawser "));
    EXPECT_THAT(ruleset, Not(HasSubstr("inet")));
    EXPECT_TRUE((*backend)->observe()->anchor);
    ASSERT_TRUE((*backend)->apply(plan_of({together.front()}, "other")));
    ASSERT_TRUE((*backend)->remove_rules());
    ASSERT_TRUE((*backend)->remove_anchor());
    EXPECT_EQ(output_of("nft list ruleset"), "");
  });
}

TEST(NftTables, AreSeenWithTheirCommentsAndOurRules) {
  in_namespace([] {
    ASSERT_EQ(
        std::system("nft 'table inet a { comment \"sha256:1 x\"; chain c { tcp dport 1 accept comment \"out:ssh\"; "
                    "tcp dport 2 accept comment \"in:ssh\"; tcp dport 3 accept comment \"another: out:ssh\"; "
                    "tcp dport 4 accept; }; chain d { tcp dport 1 accept comment \"out:ssh\"; }; }; "
                    "table ip a { }; table inet b { chain c { tcp dport 1 accept comment \"out:ssh\"; }; }'"),
        0);
    NetlinkSocket socket(NETLINK_NETFILTER);
    const auto there = NftTables::observe(socket);
    ASSERT_TRUE(there) << there.error().to_string();
    EXPECT_TRUE(there->has({"inet"}, "a"));
    EXPECT_TRUE(there->has({"ip", "ip6"}, "a")) << "one is enough";
    EXPECT_FALSE(there->has({"ip6"}, "a"));
    EXPECT_FALSE(there->has({"inet"}, "A"));
    EXPECT_TRUE(there->have_comment({"inet"}, "a", "sha256:1 x"));
    EXPECT_FALSE(there->have_comment({"inet"}, "a", "sha256:1"));
    EXPECT_FALSE(there->have_comment({"inet", "ip"}, "a", "sha256:1 x")) << "all of them have it";
    EXPECT_FALSE(there->have_comment({"inet"}, "c", ""));
    const auto rules = tagged_rules(socket, {"inet", "ip"}, "a");
    ASSERT_TRUE(rules) << rules.error().to_string();
    EXPECT_EQ(*rules, (std::map<std::string, std::size_t>{{"c", 2}, {"d", 1}}));
    const auto none = tagged_rules(socket, {"inet"}, "missing");
    EXPECT_TRUE(none && none->empty());
    ASSERT_EQ(std::system("nft 'table inet a { counter out_x { packets 3 bytes 5000000000 }; quota q { 1 mbytes }; }; "
                          "table ip a { counter out_x { packets 4 bytes 8 }; counter in_y { }; }; "
                          "table inet b { counter out_x { packets 100 bytes 100 }; }'"),
              0);
    const auto counters = named_counters(socket, {"inet", "ip"}, "a");
    ASSERT_TRUE(counters) << counters.error().to_string();
    EXPECT_EQ(counters->size(), 2U);
    EXPECT_EQ(counters->at("out_x").packets, 7U);
    EXPECT_EQ(counters->at("out_x").bytes, 5000000008U);
    EXPECT_EQ(counters->at("in_y").packets, 0U);
  });
}

TEST(NftBackend, TheKernelsOwnLayoutIsInet) {
  in_namespace([] {
    auto backend = NftBackend::make();
    ASSERT_TRUE(backend);
    EXPECT_EQ(output_of("nft list ruleset"), "") << "the question is never committed";
    ASSERT_TRUE((*backend)->apply(plan_of({})));
    EXPECT_THAT(output_of("nft list tables"), HasSubstr("table inet hawser\n"));
  });
}

// A table that was made anew has other handles.
std::string generation_of_kernel() {
  return output_of("nft -a list table inet hawser | grep -o 'handle.*' ");
}

TEST(NftBackend, TheSamePlanAgainChangesNothing) {
  in_namespace([] {
    auto backend = NftBackend::make();
    ASSERT_TRUE(backend);
    const Plan plan = plan_of({rule_of(matches().front())});
    ASSERT_TRUE((*backend)->apply(plan));
    const std::string handles = generation_of_kernel();
    ASSERT_THAT(handles, HasSubstr("handle"));
    ASSERT_TRUE((*backend)->apply(plan));
    EXPECT_EQ(generation_of_kernel(), handles);
    ASSERT_TRUE((*backend)->apply(plan_of(plan.rules, "4567")));
    EXPECT_NE(generation_of_kernel(), handles);
  });
}

// Depths differ, so they can't be of one set.
TEST(NftBackend, CgroupsAreFollowedWhenTheyAreMadeAnew) {
  in_namespace([] {
    const std::string stem = "/sys/fs/cgroup/hawser-test-" + std::to_string(::getpid());
    const std::string name = stem.substr(std::string("/sys/fs/cgroup/").size());
    if (::mkdir(stem.c_str(), 0755) != 0) GTEST_SKIP() << "no cgroup can be made here";
    ASSERT_EQ(::mkdir((stem + "/inner").c_str(), 0755), 0);
    auto backend = NftBackend::make();
    Rule rule;
    rule.match.cgroups = {name, name + "/inner"};
    const Plan plan = plan_of({rule});
    const auto applied = (*backend)->apply(plan);
    EXPECT_TRUE(applied) << applied.error().to_string();
    EXPECT_THAT((*backend)->observe()->text, HasSubstr("socket cgroupv2 level 1 \"" + name + "\""));
    EXPECT_THAT((*backend)->observe()->text, HasSubstr("socket cgroupv2 level 2 \"" + name + "/inner\""));
    const std::string handles = generation_of_kernel();
    EXPECT_TRUE((*backend)->apply(plan));
    EXPECT_EQ(generation_of_kernel(), handles);
    ::rmdir((stem + "/inner").c_str());
    const auto gone = (*backend)->apply(plan);
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().id(), "HWS-NF-051");
    EXPECT_EQ(generation_of_kernel(), handles) << "nothing was applied";
    // A folder of another inode, as after the unit's restart.
    ASSERT_EQ(::mkdir((stem + "/inner").c_str(), 0755), 0);
    EXPECT_TRUE((*backend)->apply(plan));
    EXPECT_NE(generation_of_kernel(), handles);
    ::rmdir((stem + "/inner").c_str());
    ::rmdir(stem.c_str());
  });
}

// The end of the backend is the end of its socket, as the broker's death is.
TEST(NftBackend, ADirectionThatFailsClosedOutlivesTheSocket) {
  in_namespace([] {
    Rule out;
    out.hook = Hook::kOutput;
    Rule in;
    in.hook = Hook::kPrerouting;
    Plan plan = plan_of({out, in});
    plan.inbound_stays = true;
    {
      auto backend = NftBackend::make();
      const auto applied = (*backend)->apply(plan);
      ASSERT_TRUE(applied) << applied.error().to_string();
      EXPECT_NE((*backend)->port_id(), 0U);
    }
    EXPECT_THAT(output_of("nft list ruleset"), HasSubstr("in:redirect"));
    EXPECT_THAT(output_of("nft list ruleset"), Not(HasSubstr("out:redirect")));
    auto successor = NftBackend::make();
    EXPECT_TRUE((*successor)->observe()->rules);
    ASSERT_TRUE((*successor)->apply(plan));
    EXPECT_THAT(output_of("nft list ruleset"), HasSubstr("out:redirect"));
    plan.inbound_stays = false;
    ASSERT_TRUE((*successor)->apply(plan));
    EXPECT_THAT(output_of("nft list tables"), Not(HasSubstr("hawser_stays")));
    ASSERT_TRUE((*successor)->remove_rules() && (*successor)->remove_anchor());
    EXPECT_EQ(output_of("nft list ruleset"), "");
  });
}

TEST(NftBackend, ItsShapeTellsWhatOthersDidAndTheSamePlanHealsIt) {
  in_namespace([] {
    Rule rule;
    rule.hook = Hook::kPrerouting;
    rule.match.family = Family::kIpv4;
    rule.match.destinations = {cidr("10.0.0.0/8"), cidr("192.168.0.0/16")};
    Plan plan = plan_of({rule});
    plan.inbound_stays = true;
    auto backend = NftBackend::make();
    ASSERT_TRUE((*backend)->apply(plan));
    const std::string shape = (*backend)->observe()->shape;
    EXPECT_EQ((*backend)->observe()->shape, shape);
    (void)output_of("nft add element inet hawser_stays in_redirect4 '{ 172.16.0.0/12 }'");
    EXPECT_NE((*backend)->observe()->shape, shape);
    ASSERT_TRUE((*backend)->apply(plan));
    EXPECT_EQ((*backend)->observe()->shape, shape);
    (void)output_of("nft flush ruleset");
    EXPECT_NE((*backend)->observe()->shape, shape);
    ASSERT_TRUE((*backend)->apply(plan));
    EXPECT_EQ((*backend)->observe()->shape, shape);
  });
}

TEST(RoutedBackend, RoutingComesWithTheRulesAndGoesWithTheAnchor) {
  in_namespace([] {
    Rule rule;
    rule.hook = Hook::kManglePrerouting;
    rule.match.protocol = Protocol::kTcp;
    rule.action = action(Action::Kind::kTproxy, 15006, 0x539);
    Plan plan = plan_of({rule});
    plan.tproxy = Tproxy{};
    Plan redirect = plan_of({Rule{}}, "redirect");
    RoutedBackend backend(std::move(NftBackend::make().value()));
    ASSERT_TRUE(backend.apply(plan));
    EXPECT_THAT(output_of("ip rule"), HasSubstr("fwmark 0x539"));
    EXPECT_THAT(backend.observe()->shape, HasSubstr("ip route (IPv6)"));
    ASSERT_TRUE(backend.apply(redirect));
    EXPECT_THAT(output_of("ip rule"), Not(HasSubstr("fwmark")));
    EXPECT_THAT(output_of("ip -6 address show lo"), HasSubstr("::6/128")) << "inbound IPv6 is redirected";
    ASSERT_TRUE(backend.apply(plan));
    ASSERT_TRUE(backend.remove_rules());
    EXPECT_THAT(output_of("ip rule"), HasSubstr("fwmark 0x539"));
    (void)output_of("nft flush ruleset");
    EXPECT_TRUE(backend.observe()->routing);
    ASSERT_TRUE(backend.remove_anchor());
    EXPECT_THAT(output_of("ip rule"), Not(HasSubstr("fwmark")));
    EXPECT_FALSE(backend.observe()->lasting());
  });
}

TEST(RoutedBackend, WhatCantBeAppliedLeavesNoRouting) {
  in_namespace([] {
    Rule rule;
    rule.hook = Hook::kManglePrerouting;
    rule.match.protocol = Protocol::kTcp;
    rule.match.cgroups = {"no/such.service"};
    rule.action = action(Action::Kind::kTproxy, 15006, 0x539);
    Plan plan = plan_of({rule});
    plan.tproxy = Tproxy{};
    RoutedBackend backend(std::move(NftBackend::make().value()));
    ASSERT_FALSE(backend.apply(plan));
    EXPECT_THAT(output_of("ip rule; ip -6 address show lo"), Not(AnyOf(HasSubstr("fwmark"), HasSubstr("::6/128"))));
  });
}

TEST(NftBackend, WithoutCgroupV2ItSaysSo) {
  Plan plan = plan_of({Rule{}});
  plan.rules.front().match.cgroups = {"system.slice"};
  const auto found = observe_cgroups(plan, "/tmp");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().id(), "HWS-NF-050");
}

TEST(NftBackend, ThousandsOfNetworksAreOneSet) {
  in_namespace([] {
    Rule rule;
    rule.purpose = Purpose::kExcludedCidr;
    rule.match.family = Family::kIpv4;
    for (int i = 0; i < 5000; ++i)
      rule.match.destinations.push_back(
          cidr(("10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/25").c_str()));
    auto backend = NftBackend::make();
    const auto applied = (*backend)->apply(plan_of({rule}));
    ASSERT_TRUE(applied) << applied.error().to_string();
    EXPECT_THAT(output_of("nft list chain inet hawser output"), HasSubstr("ip daddr @out_excluded_cidr4 "));
    EXPECT_THAT(output_of("nft get element inet hawser out_excluded_cidr4 '{ 10.19.135.5 }'"),
                HasSubstr("10.19.135.0/25"));
    EXPECT_LT((*backend)->observe()->text.size(), 4096U) << "what is read back stays small";
  });
}

}  // namespace
}  // namespace hawser::netfilter
