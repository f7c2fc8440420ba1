// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "netfilter/plan.h"

// What: the workshop of compile(): the intent's texts as checked, sorted sets (Parts), and what puts rules in a row
// (Builder). For plan*.cpp alone. Threading: none of its own. Failure: plan.h's, all from prepare().
namespace hawser::netfilter {

inline constexpr std::uint32_t kDnsServer = 53;
// Of conntrack zones: what the agent and the exempt ask servers, and what programs ask the agent, instead of them.
inline constexpr std::uint16_t kUpstreamZone = 1;
inline constexpr std::uint16_t kCapturedZone = 2;

struct Never {
  Cidr address;
  std::vector<PortRange> ports;  // none: all
};

// Empty lists mean what they mean in Intent.
struct Parts {
  std::vector<PortRange> inbound_ports;
  std::vector<PortRange> inbound_exclude;
  std::vector<PortRange> outbound_ports;
  std::vector<PortRange> outbound_exclude;
  std::vector<Cidr> outbound_cidrs;
  std::vector<Cidr> outbound_exclude_cidrs;
  std::vector<PortRange> ssh_ports;
  std::vector<PortRange> own_ports;  // of the proxy and the agent
  std::vector<Cidr> metadata;
  std::vector<Never> never;
  std::vector<Never> own_probes;
  Owner exempt;
  Owner proxy;
  Owner asks_upstream;  // DNS: the agent, and the host's own resolver
  std::vector<Cidr> resolvers;
  std::vector<UserPorts> user_ports;
  std::vector<std::uint32_t> groups_include;
  std::vector<std::uint32_t> groups_exclude;
  std::vector<std::string> exclude_interfaces;
  std::vector<Family> dns_families;  // none: DNS isn't captured
  std::vector<Cidr> dns_probes;      // see Plan
  bool tproxy = false;
  bool self_call = false;
};

Result<Parts> prepare(const Intent& intent, const Guard& guard);

std::vector<Cidr> of(Family family, const std::vector<Cidr>& networks);

// Adds rules in order, leaves out families that aren't intercepted.
class Builder {
 public:
  Builder(const Intent& intent, const Parts& parts, std::vector<Rule>& rules)
      : intent_(intent), parts_(parts), rules_(rules) {}

  const Intent& intent() const { return intent_; }
  const Parts& parts() const { return parts_; }

  void add(Hook hook, Purpose purpose, Match match, Action action);
  void leave(Hook hook, Purpose purpose, Match match) { add(hook, purpose, std::move(match), {}); }
  // To a port of the proxy; refused if there is no proxy.
  void capture(Hook hook, Purpose purpose, Match match, std::uint32_t port);
  // One rule for each way to recognise the owner.
  void add_owner(Hook hook, Purpose purpose, const Match& match, const Owner& owner, Action action);
  // One rule per family, since an nftables set holds one type.
  void leave_networks(Hook hook, Purpose purpose, const std::vector<Cidr>& networks,
                      const std::vector<PortRange>& ports = {});
  // TCP, by destination.
  void leave_ports(Hook hook, Purpose purpose, const std::vector<PortRange>& ports);

 private:
  bool wanted(Family family) const;

  const Intent& intent_;
  const Parts& parts_;
  std::vector<Rule>& rules_;
};

// Parts of chains that several hooks share.
Match on_interface(const std::string& name);
Match with_protocol(Protocol protocol);
Match midstream();
void add_ssh(Builder& builder, Hook hook);
void add_interfaces(Builder& builder, Hook hook);

void add_output(Builder& builder);      // plan_outbound.cpp
void add_prerouting(Builder& builder);  // plan_inbound.cpp
// What is never captured inbound, and what the operator excluded; for either mode.
void add_inbound_exemptions(Builder& builder, Hook hook);
// Each family's part of the self-call, and of own probes, but for what becomes of it.
void add_self_call(Builder& builder, Hook hook, Action action);
void add_own_probes(Builder& builder, Hook hook, Action action);
void add_tproxy(Builder& builder);        // plan_tproxy.cpp
void add_invalid_drop(Builder& builder);  // plan_inbound.cpp
void add_dns(Builder& builder);           // plan_dns.cpp: the nat part
void add_dns_zones(Builder& builder);

}  // namespace hawser::netfilter
