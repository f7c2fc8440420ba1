// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "netfilter/rule.h"

// What: what shall be intercepted (Intent) → an ordered list of typed rules (Plan). Pure: the same input gives the same
// rules and the same digest in hawserd and in the broker. The safety rules of interception are made here and nowhere
// else, so whoever compiles has them. TCP only.
// Threading: none of its own.
// Failure: HWS-NF-001…003 (address.h), HWS-NF-004 (nobody is exempt: it would loop), HWS-NF-005 (captures nothing),
// HWS-NF-006 (ports clash), HWS-NF-007 (too many entries).
namespace hawser::netfilter {

inline constexpr std::uint16_t kProbePort = 15009;
inline constexpr const char* kProbeAddress4 = "127.0.0.6";
inline constexpr const char* kProbeAddress6 = "::1";
// The host's end of the inbound probe's veth pair; the other end injects.
inline constexpr const char* kProbeInterface = "hwsprb1";
inline constexpr const char* kProbeInjector = "hwsprb0";

struct Endpoint {
  std::string address;     // an IP address
  std::uint32_t port = 0;  // 0: any
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
  std::vector<PortRange> inbound_ports;  // none: all
  std::vector<PortRange> inbound_exclude;
  std::vector<PortRange> outbound_exclude;
  std::vector<std::string> outbound_exclude_cidrs;
  std::vector<std::uint32_t> exempt_uids;
  std::vector<std::uint32_t> exempt_gids;
  std::vector<Endpoint> never;
  // hawserd (that uid) asks this host's own program there as a caller would: through the proxy's inbound port. Only
  // while both directions are captured.
  std::vector<Endpoint> own_probes;
  std::uint32_t probe_uid = 0;  // 0: nobody
};

// What was observed on the host and has to stay untouched, besides the intent (guard.h).
struct Guard {
  std::vector<std::uint16_t> ssh_ports;  // where sshd listens, besides 22
};

struct Plan {
  std::vector<Rule> rules;  // first match wins, per hook
  std::string digest;       // SHA-256 of the rules, lower-case hex
  bool outbound = false;
  bool inbound = false;
  bool ipv4 = false;
  bool ipv6 = false;
  std::uint16_t outbound_port = 0;
  std::uint16_t inbound_port = 0;
  // A direction that fails closed: its rules stay when the broker and the keepers of its socket are gone. Set by the
  // broker, after compile(); no part of the digest.
  bool outbound_stays = false;
  bool inbound_stays = false;
};

Result<Plan> compile(const Intent& intent, const Guard& guard = {});

}  // namespace hawser::netfilter
