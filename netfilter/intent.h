// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "netfilter/rule.h"

// What: what the planner is asked for (Intent), and what was observed on the host besides (Guard). Values; plan.h
// checks them. Threading, failure: none.
namespace hawser::netfilter {

struct Endpoint {
  std::string address;     // an IP address
  std::uint32_t port = 0;  // 0: any
  bool operator==(const Endpoint&) const = default;
};

// By what the owner of a socket is recognised; one of all is enough.
struct Owner {
  std::vector<IdRange> uids{};
  std::vector<std::uint32_t> gids{};
  std::vector<std::string> cgroups{};  // of cgroup v2: "system.slice/app.service", and what is below it
  std::vector<Mark> marks{};           // of what it sends (SO_MARK)
  bool empty() const { return uids.empty() && gids.empty() && cgroups.empty() && marks.empty(); }
  bool operator==(const Owner&) const = default;
};

// The destination ports to which these users' connections aren't captured.
struct UserPorts {
  std::vector<IdRange> uids{};
  std::vector<PortRange> ports{};      // none: all
  Protocol protocol = Protocol::kTcp;  // or kUdp (which matters to DNS alone), or kAny: both
  bool operator==(const UserPorts&) const = default;
};

// One of several programs on this host, with the ports that are captured for it.
struct Service {
  std::string name;
  std::vector<PortRange> ports;
  bool operator==(const Service&) const = default;
};

// kRedirect: the proxy learns the destination from connection tracking, the program sees 127.0.0.6 or the host's own
// address. kTproxy: nothing is rewritten, and the program sees the caller's address; the proxy needs CAP_NET_ADMIN.
enum class InboundMode { kRedirect, kTproxy };

struct Tproxy {
  // Of packets that are for the proxy's sockets; the number after it marks the proxy's calls to its own host.
  std::uint32_t mark = 1337;
  std::uint32_t mask = 0xffffffff;
  std::uint32_t table = 133;  // of routes: has "local default dev lo"
  bool operator==(const Tproxy&) const = default;
};

struct Dns {
  // kResolvers: what goes to `resolvers`, or where there are none to those of the Guard.
  enum class Capture { kOff, kResolvers, kAll };
  Capture capture = Capture::kOff;
  std::uint32_t port = 15053;  // of the agent's listener, UDP and TCP, on 127.0.0.1 and ::1
  bool ipv4 = true;            // it is bound in this family
  bool ipv6 = false;
  Owner agent;                         // who answers there, and asks upstream
  std::vector<std::string> resolvers;  // addresses
  Owner host_resolver;                 // systemd-resolved and the like: asks upstream itself
  bool operator==(const Dns&) const = default;
};

struct Intent {
  std::uint32_t outbound_port = 15001;
  std::uint32_t inbound_port = 15006;
  bool capture_outbound = true;
  bool capture_inbound = true;
  bool ipv4 = true;
  bool ipv6 = false;
  // Nobody is there to redirect to: what is captured is refused, with a reset, instead of left to whoever binds a port.
  bool refuse = false;

  InboundMode inbound_mode = InboundMode::kRedirect;
  Tproxy tproxy;
  // With neither ports nor services: all. Else the union of both.
  std::vector<PortRange> inbound_ports;
  std::vector<Service> services;
  std::vector<PortRange> inbound_exclude;
  std::uint32_t hbone_port = 0;  // of a listener that callers dial themselves; 0: none
  bool drop_invalid = false;     // what connection tracking can't place, on captured inbound ports

  // With neither ports nor networks: all. Else what one of both has.
  std::vector<PortRange> outbound_ports;
  std::vector<std::string> outbound_cidrs;
  std::vector<PortRange> outbound_exclude;
  std::vector<std::string> outbound_exclude_cidrs;

  std::vector<IdRange> exempt_uids;
  std::vector<std::uint32_t> exempt_gids;
  std::vector<std::string> exempt_cgroups;
  std::vector<Mark> exempt_marks;
  std::vector<std::uint32_t> groups_include;  // none: all
  std::vector<std::uint32_t> groups_exclude;
  std::vector<UserPorts> user_ports;
  std::vector<std::string> exclude_interfaces;  // both directions; "eth*" for all that begin so

  // What the proxy sends to this host's own addresses goes through its inbound listener, as others' calls do. Only
  // while both directions are captured and `proxy` says who that is.
  bool self_call = true;
  Owner proxy;

  Dns dns;
  std::vector<Endpoint> never;
  // hawserd (that uid) asks this host's own program there as a caller would: through the proxy's inbound port. Only
  // while both directions are captured.
  std::vector<Endpoint> own_probes;
  std::uint32_t probe_uid = 0;  // 0: nobody

  bool operator==(const Intent&) const = default;
};

// What was observed on the host and has to stay untouched, besides the intent (guard.h).
struct Guard {
  std::vector<std::uint16_t> ssh_ports{};  // where sshd listens or has sessions, besides 22
  std::vector<std::string> resolvers{};    // of resolv.conf
  Owner host_resolver{};                   // asks these upstream
};

}  // namespace hawser::netfilter
