// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "netfilter/packet.h"
#include "netfilter/plan.h"

// What: what a plan does to a packet, and by which rule, as the kernel would: hook by hook in the order of rule.h, and
// for what this host sends to itself (also because a rule redirected it, or marked it for the route of TPROXY) the way
// in through lo after the way out. Source: the order of the hooks and what connection tracking skips,
// net/netfilter/nf_nat_core.c (nf_nat_inet_fn: NAT is decided by a connection's first packet, and the way in of a local
// connection doesn't ask again), nf_conntrack_core.c (the first zone stays). Pure. Threading: none of its own.
// Failure: none.
namespace hawser::netfilter {

enum class Answer { kNo, kUnknown, kYes };
// kUnknown: it depends on something that the packet doesn't tell. `outgoing` says of which hooks the match is.
Answer matches(const Match& match, const Packet& packet, bool outgoing);

struct Outcome {
  enum class Kind {
    kLeft,        // goes where it was going
    kRedirected,  // to `port` of this host
    kTproxied,    // to the socket on `port`, with its address
    kDiverted,    // to the local socket that it belongs to, TPROXY's
    kRefused,
    kDropped,
  };
  Kind kind = Kind::kLeft;
  std::uint16_t port = 0;
  std::uint32_t mark = 0;
  std::uint32_t connection_mark = 0;
  std::uint16_t zone = 0;
  // Its connection is older, and so is the kernel's decision about a redirect: no rule of NAT was asked.
  bool decided_before = false;
  bool second_lap = false;  // it came in through lo
  // In Plan::rules: the one that decided (none: no rule did); all that matched, in their order; and those before the
  // decision that might match, if more were known of the packet.
  std::optional<std::size_t> rule;
  std::vector<std::size_t> matched;
  std::vector<std::size_t> open;

  bool captured() const;  // by the proxy, or refused in its place
};
// "left alone", "redirected", …
const char* to_string(Outcome::Kind kind);

// What isn't known counts as not matching.
Outcome evaluate(const Plan& plan, const Packet& packet);

// The first packet of a TCP connection that this host opens, as connection tracking knows it.
struct Opening {
  Cidr destination;  // a single address
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  bool local = false;  // an address of this host
};

// By addresses and ports alone: who opened it, and through which interface, isn't known. What may be captured is, so it
// may still be exempt.
bool may_capture(const Plan& plan, const Opening& opening);

}  // namespace hawser::netfilter
