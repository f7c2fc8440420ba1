// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "netfilter/plan.h"

// What: a plan in the terms of xtables (iptables-extensions(8), linux/netfilter*/): per family and table, chains of our
// own and one jump from a built-in chain. Pure. Threading: none of its own.
// Failure: HWS-NF-070: xtables can't express the plan; all reasons in one error.
//
// Chains reach each other by goto, never by a jump, so RETURN leaves our rules wherever it stands: the packet goes on
// in the built-in chain, as nftables' `return` lets it. xtables has no sets: a list of networks becomes a tree of
// chains by common prefix, so that a packet is compared with a few dozen of thousands, and a rule with several long
// lists becomes one chain a list. Refusing is the filter table's (the kernel has REJECT there alone): such rules stand
// in OUTPUT or INPUT, behind NAT, and leave alone what some NAT has changed.
namespace hawser::netfilter {

inline constexpr const char* kXtPrefix = "HAWSER_";
// Unreachable. Its use of conntrack keeps established redirected connections alive while no rule of ours is there.
inline constexpr const char* kXtAnchorChain = "HAWSER_ANCHOR";
inline constexpr std::size_t kXtMaxEntries = 200'000;  // of one table and family

enum class XtTable { kRaw, kMangle, kNat, kFilter };
inline constexpr XtTable kXtTables[] = {XtTable::kRaw, XtTable::kMangle, XtTable::kNat, XtTable::kFilter};
const char* to_string(XtTable table);

struct XtTarget {
  enum class Kind {
    kReturn,
    kGoto,  // `chain`
    kJump,  // `chain`; from a built-in chain
    kDrop,
    kRedirect,
    kTproxy,
    kReject,
    kMark,
    kSaveMark,
    kRestoreMark,
    kZone
  };
  Kind kind = Kind::kReturn;
  std::string chain = {};
  std::uint16_t port = 0;
  std::uint32_t mark = 0;
  std::uint16_t zone = 0;
};

// Of each list of `match` there is at most one element, but for ports (what one multiport match takes), not_gids,
// not_marks and not_destination_ports (each a match of its own). Its family is the table's.
struct XtEntry {
  Match match = {};
  bool translated = false;  // NAT has changed the connection's destination
  std::string comment = {};
  XtTarget target = {};
};

struct XtChain {
  std::string name;
  bool outgoing = true;
  std::vector<XtEntry> entries = {};
};

struct XtJump {
  std::string from;  // "OUTPUT", …
  std::string to;
};

struct XtTableForm {
  Family family = Family::kIpv4;
  XtTable table = XtTable::kNat;
  std::vector<XtJump> jumps = {};
  std::vector<XtChain> chains = {};
  bool captures = false;  // some rule of it redirects, proxies or refuses
};

struct XtablesForm {
  std::string digest;
  std::vector<XtTableForm> tables;  // raw, mangle, nat, filter; IPv4 before IPv6
  // What is different from nftables, for people.
  std::vector<std::string> limits;
};

Result<XtablesForm> emit_xtables(const Plan& plan);

// The comment of the jumps: "hawser:sha256:<digest>:<fingerprint>".
std::string jump_comment(const std::string& digest, const std::string& fingerprint);
// For iptables-restore or ip6tables-restore --noflush, of one family; empty if it has no rules.
std::string to_iptables(const XtablesForm& form, Family family);

}  // namespace hawser::netfilter
