// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "netfilter/address.h"

// What: one rule of a plan, in terms that nftables, xtables and the evaluator share. Pure. Threading, failure: none.
namespace hawser::netfilter {

// Where a rule is asked, in the order in which a packet meets them. Of the raw and mangle hooks each packet asks, of
// the nat hooks (kOutput, kPrerouting) only the first one of a connection.
enum class Hook { kRawOutput, kRawPrerouting, kMangleOutput, kManglePrerouting, kOutput, kPrerouting };
inline constexpr Hook kHooks[] = {Hook::kRawOutput,        Hook::kRawPrerouting, Hook::kMangleOutput,
                                  Hook::kManglePrerouting, Hook::kOutput,        Hook::kPrerouting};
// Packets that this host sends, or those that arrive (what it sends to itself does both).
bool outgoing(Hook hook);
// "raw_output", …
const char* to_string(Hook hook);

enum class Purpose {
  kProbe,
  kOwnProbe,
  kNotTcp,
  kMidstream,
  kSsh,
  kDhcp,
  kMetadata,
  kControlPlane,
  kOwnPort,
  kPassthrough,  // what the proxy sends to the program behind it, from 127.0.0.6 or ::6
  kSelfCall,     // what the proxy sends to this host's own address is somebody's call: by the inbound listener
  kExemptUser,
  kExemptGroup,
  kExemptCgroup,
  kExemptMark,
  kHbone,
  kInterface,  // excluded
  kGroup,      // of owners, excluded or not among those included
  kUserPort,   // excluded for that user
  kDns,
  kDnsZone,
  kResolver,  // the host's own resolver asks its upstream
  kLoopback,
  kTransit,
  kExcludedPort,
  kExcludedCidr,
  kNotIncluded,
  kInvalid,
  kReturnPath,  // TPROXY: marks that bring answers back to the proxy
  kEstablished,
  kRedirect,
};
// "probe", "ssh", …: part of the counters' names.
const char* to_string(Purpose purpose);

// Numbers of users, both ends included; a single one is a range too.
struct IdRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;

  IdRange() = default;
  IdRange(std::uint32_t id) : first(id), last(id) {}  // NOLINT(google-explicit-constructor)
  IdRange(std::uint32_t from, std::uint32_t to) : first(from), last(to) {}
  bool contains(std::uint32_t id) const { return first <= id && id <= last; }
  auto operator<=>(const IdRange&) const = default;
};
// "881", "4001-4010".
std::string to_string(const IdRange& range);
bool contains(const std::vector<IdRange>& ranges, std::uint32_t id);

enum class Protocol { kAny, kTcp, kUdp, kNotTcp };

struct Mark {
  std::uint32_t value = 0;
  std::uint32_t mask = 0xffffffff;
  bool operator==(const Mark&) const = default;
};

// As connection tracking (nf_conntrack(7)) sees the packet. kEstablished includes what is related.
enum class Tracked { kAny, kInvalid, kEstablished };

// All given parts have to match; an empty list matches everything, of a list one element has to match, of a `not_` list
// none may. Ports need a protocol that has them.
struct Match {
  Family family = Family::kBoth;
  Protocol protocol = Protocol::kAny;
  bool midstream = false;  // TCP, and not the first packet of a connection
  Tracked tracked = Tracked::kAny;
  bool local = false;                   // the destination is an address of this host, or
  bool not_local = false;               // it isn't
  std::vector<std::string> interfaces;  // outgoing or incoming, as the hook is; "eth*" for all that begin so
  std::vector<Cidr> sources;            // all of `family`, as are the destinations
  std::vector<Cidr> destinations;
  std::vector<Cidr> not_destinations;
  std::vector<PortRange> source_ports;
  std::vector<PortRange> destination_ports;
  std::vector<PortRange> not_destination_ports;
  // The socket's owner: outgoing hooks only.
  std::vector<IdRange> uids;
  std::vector<std::uint32_t> gids;
  std::vector<std::uint32_t> not_gids;
  std::vector<std::string> cgroups;  // of cgroup v2, without the leading slash: "system.slice/app.service"
  std::vector<Mark> marks;           // of the packet
  std::vector<Mark> not_marks;
  std::vector<Mark> connection_marks;
};

// What becomes of a packet. The first four end the way through this hook; the others go on with the next rule.
struct Action {
  enum class Kind {
    kLeave,     // as it is
    kRedirect,  // to `port` of this host; nat
    kTproxy,    // to the socket on `port`, address unchanged, with `mark`; mangle prerouting
    kRefuse,    // by a reset
    kDrop,
    kDivert,       // marked with `mark`, and left
    kMark,         // with `mark`
    kSaveMark,     // the packet's mark becomes the connection's
    kRestoreMark,  // and the other way round
    kZone,         // of connection tracking; raw, and of several the first counts
  };
  Kind kind = Kind::kLeave;
  std::uint16_t port = 0;
  std::uint32_t mark = 0;
  std::uint16_t zone = 0;

  bool final() const;     // no further rule of this hook is asked
  bool captures() const;  // it's redirected, proxied or refused
  bool operator==(const Action&) const = default;
};

struct Rule {
  Hook hook = Hook::kOutput;
  Purpose purpose = Purpose::kRedirect;
  Match match;
  Action action;
};
// One line for people and for the digest.
std::string to_string(const Rule& rule);

}  // namespace hawser::netfilter
