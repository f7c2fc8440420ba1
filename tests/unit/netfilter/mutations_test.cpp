// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Spoils what the plan compiler made, one rule at a time, and looks whether the laws notice: a law that nothing breaks
// proves nothing. tests/mutations/run.py does the same to the compiler's sources, which takes longer.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "laws.h"
#include "world.h"

namespace hawser::netfilter {
namespace {

using world::Scenario;

class Seeded : public world::Draw {
 public:
  explicit Seeded(unsigned seed) : random_(seed) {}
  std::size_t below(std::size_t limit) override { return random_() % limit; }

 private:
  std::mt19937 random_;
};

// One that has nearly every kind of rule, and one with TPROXY.
Scenario rich(InboundMode mode) {
  Scenario out;
  Intent& intent = out.intent;
  out.symmetric = true;
  intent.ipv6 = true;
  intent.inbound_mode = mode;
  intent.inbound_ports = {{80, 80}, {443, 3306}, {8080, 9100}, {22, 22}, {15001, 15100}};
  intent.inbound_exclude = {{9100, 9100}};
  intent.hbone_port = 15008;
  intent.drop_invalid = true;
  intent.outbound_exclude = {{3306, 3306}};
  intent.outbound_exclude_cidrs = {"10.0.1.0/24", world::in_ipv6("10.0.1.0/24")};
  intent.exempt_uids = {world::kAgent, world::kProxy, 900};
  intent.exempt_gids = {901};
  intent.exempt_cgroups = {"system.slice/backup.service"};
  intent.exempt_marks = {{0x100, 0xf00}};
  intent.groups_exclude = {2001};
  intent.user_ports = {{{1001}, {{443, 443}}, Protocol::kTcp}};
  intent.exclude_interfaces = {"docker*"};
  intent.proxy.uids = {world::kProxy};
  intent.dns.capture = Dns::Capture::kResolvers;
  intent.dns.ipv6 = true;
  intent.dns.agent.uids = {world::kAgent};
  intent.dns.host_resolver.uids = {world::kResolver};
  intent.dns.resolvers = {"10.9.0.53", world::in_ipv6("10.9.0.53"), "127.0.0.53", world::in_ipv6("127.0.0.53")};
  intent.never = {{"10.0.3.3", 443}, {world::in_ipv6("10.0.3.3"), 443}};
  intent.own_probes = {{"10.0.0.9", 8080}, {world::in_ipv6("10.0.0.9"), 8080}};
  intent.probe_uid = world::kAgent;
  out.guard.ssh_ports = {2222};
  return out;
}

struct Mutant {
  std::string what;
  Plan plan;
};

Action other(const Action& action) {
  if (action.kind == Action::Kind::kLeave) return {Action::Kind::kRedirect, 15001};
  if (action.kind == Action::Kind::kZone) {
    Action out = action;
    out.zone = action.zone == 1 ? 2 : 1;
    return out;
  }
  return {};
}

std::vector<Mutant> mutants(const Plan& plan) {
  std::vector<Mutant> out;
  for (std::size_t i = 0; i < plan.rules.size(); ++i) {
    const std::string rule = to_string(plan.rules[i]);
    Mutant dropped{"without " + rule, plan};
    dropped.plan.rules.erase(dropped.plan.rules.begin() + static_cast<std::ptrdiff_t>(i));
    out.push_back(std::move(dropped));
    Mutant turned{"another action for " + rule, plan};
    turned.plan.rules[i].action = other(plan.rules[i].action);
    out.push_back(std::move(turned));
    if (i + 1 == plan.rules.size() || plan.rules[i].hook != plan.rules[i + 1].hook) continue;
    Mutant swapped{"after the next one: " + rule, plan};
    std::swap(swapped.plan.rules[i], swapped.plan.rules[i + 1]);
    out.push_back(std::move(swapped));
  }
  return out;
}

std::vector<Packet> packets_for(const Scenario& scenario, std::size_t count) {
  Seeded draw(6);
  std::vector<Packet> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(world::draw_packet(draw, scenario));
  return out;
}

bool same(const Outcome& a, const Outcome& b) {
  return a.kind == b.kind && a.port == b.port && a.mark == b.mark && a.zone == b.zone &&
         a.connection_mark == b.connection_mark;
}

// The packets that are answered otherwise. None: it changes nothing, as two rules that no packet meets both, or one
// whose packets another one leaves as well.
std::vector<Packet> changed(const std::vector<Outcome>& before, const Plan& after, const std::vector<Packet>& packets) {
  std::vector<Packet> out;
  for (std::size_t i = 0; i < packets.size(); ++i)
    if (!same(before[i], evaluate(after, packets[i]))) out.push_back(packets[i]);
  return out;
}

const char* caught_by(const Scenario& scenario, const Plan& plan, const std::vector<Packet>& packets) {
  for (const laws::Law& law : laws::all())
    for (const Packet& packet : packets)
      if (!law.broken(scenario, plan, packet).empty()) return law.name;
  return nullptr;
}

void every_change_is_caught(const Scenario& scenario, std::size_t at_least) {
  const auto plan = compile(scenario.intent, scenario.guard);
  ASSERT_TRUE(plan) << plan.error().to_string();
  const std::vector<Packet> packets = packets_for(scenario, 4000);
  ASSERT_EQ(caught_by(scenario, *plan, packets), nullptr) << "of the plan itself";
  std::vector<Outcome> before;
  for (const Packet& packet : packets) before.push_back(evaluate(*plan, packet));
  std::map<std::string, int> caught;
  std::size_t effective = 0;
  for (const Mutant& mutant : mutants(*plan)) {
    const auto telling = changed(before, mutant.plan, packets);
    if (telling.empty()) continue;
    ++effective;
    // First those that are answered otherwise; some laws are about what comes of others.
    const char* law = caught_by(scenario, mutant.plan, telling);
    if (law == nullptr) law = caught_by(scenario, mutant.plan, packets);
    EXPECT_NE(law, nullptr) << mutant.what;
    if (law != nullptr) ++caught[law];
  }
  EXPECT_GE(effective, at_least);
  for (const auto& [law, count] : caught) std::printf("%4d caught by: %s\n", count, law.c_str());
}

TEST(Mutations, OfAPlanWithRedirectAreCaught) {
  every_change_is_caught(rich(InboundMode::kRedirect), 80);
}

TEST(Mutations, OfAPlanWithTproxyAreCaught) {
  every_change_is_caught(rich(InboundMode::kTproxy), 80);
}

}  // namespace
}  // namespace hawser::netfilter
