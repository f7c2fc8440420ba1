// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

#include "netfilter/plan.h"

// What: a plan as one nftables transaction, in the language of nft(8) 1.0.6. Pure. Threading, failure: none.
//
// Two tables. `inet hawser` has the rules and is owned by the netlink socket that made it, so it vanishes with its
// owner: a host whose broker died is a host without interception. `inet hawser_anchor` is not owned and holds what
// keeps established redirected connections alive when the rules go: the NAT hooks and a use of conntrack state.
namespace hawser::netfilter {

inline constexpr const char* kTable = "hawser";
// For a successor that can't take the old table's socket over: it makes this one, or that one, before the other goes.
inline constexpr const char* kOtherTable = "hawser_next";
inline constexpr const char* kAnchorTable = "hawser_anchor";
// In front of every other table's dstnat (-100). A number: the name isn't accepted on the output hook.
inline constexpr int kPriority = -101;

// "out_redirect", "in_ssh", …: the named counter that a rule feeds.
std::string counter_name(const Rule& rule);

// A table can neither gain nor lose its owner, so what is there (ours or a leftover) has to be deleted, in the same
// transaction; deleting what isn't there would make the transaction fail.
enum class Existing { kNothing, kRules };

// The digest goes into the table's comment.
std::string emit_nft(const Plan& plan, Existing existing, const std::string& table = kTable);
std::string emit_remove_rules(const std::string& table = kTable);
std::string emit_remove_anchor();

}  // namespace hawser::netfilter
