// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "netfilter/intent.h"

// What: what shall be intercepted (Intent) → an ordered list of typed rules (Plan). Pure: the same input gives the same
// rules and the same digest in hawserd and in the broker. The safety rules of interception are made here and nowhere
// else, so whoever compiles has them. TCP, and DNS over UDP.
// Threading: none of its own. n networks or ports take O(n log n).
// Failure: HWS-NF-001…003 (address.h), HWS-NF-004 (nobody is exempt: it would loop), HWS-NF-005 (captures nothing),
// HWS-NF-006 (ports clash), HWS-NF-007 (too many entries), HWS-NF-030 (interface), HWS-NF-031 (cgroup), HWS-NF-032
// (mark), HWS-NF-033 (routing table), HWS-NF-034 (contradiction), HWS-NF-035 (a
// service without ports).
namespace hawser::netfilter {

inline constexpr std::uint16_t kProbePort = 15009;
inline constexpr const char* kProbeAddress4 = "127.0.0.6";
inline constexpr const char* kProbeAddress6 = "::1";
// The host's end of the inbound probe's veth pair; the other end injects.
inline constexpr const char* kProbeInterface = "hwsprb1";
inline constexpr const char* kProbeInjector = "hwsprb0";

// Who probes are made as: nobody, or who comes next before it and isn't exempt either.
struct Prober {
  std::uint32_t uid = 65534;
  std::uint32_t gid = 65534;
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
  std::uint16_t dns_port = 0;    // 0: DNS isn't captured
  Prober prober;                 // no part of the digest
  std::vector<Cidr> dns_probes;  // of each captured family the first of the host's servers, if one is known
  std::optional<Tproxy> tproxy;  // its rules need these routes (and ::6 on lo, with IPv6)
};

Result<Plan> compile(const Intent& intent, const Guard& guard = {});

}  // namespace hawser::netfilter
