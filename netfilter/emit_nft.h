// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

#include "netfilter/plan.h"

// What: a plan as one nftables transaction, in the language of nft(8) 1.0.6. Pure. Threading, failure: none.
//
// Up to three tables. `inet hawser` has the rules and is owned by the netlink socket that made it, so it vanishes with
// its owner: a host whose broker died is a host without interception. Rules of a direction that fails closed stay,
// whatever becomes of the broker: they are in `inet hawser_stays`, which isn't owned. `inet hawser_anchor` isn't either
// and holds what keeps established redirected connections alive when the rules go: the NAT hooks and a use of conntrack
// state.
namespace hawser::netfilter {

inline constexpr const char* kTable = "hawser";
// For a successor that can't take the old table's socket over: it makes this one, or that one, before the other goes.
inline constexpr const char* kOtherTable = "hawser_next";
inline constexpr const char* kStaysTable = "hawser_stays";
inline constexpr const char* kAnchorTable = "hawser_anchor";
// In front of every other table's dstnat (-100), mangle (-150) and raw (-300). Numbers: the name dstnat isn't accepted
// on the output hook.
inline constexpr int kPriority = -101;
inline constexpr int kManglePriority = -151;
inline constexpr int kRawPriority = -301;

// One inet table has both families; a kernel before 5.2 can't do NAT there, and gets two tables in one transaction.
enum class Layout { kInet, kSplit };
// "inet", or "ip" and "ip6".
std::vector<std::string> table_families(Layout layout);

// "out_redirect", "in_ssh", …: the named counter that a rule feeds.
std::string counter_name(const Rule& rule);
// A rule may need several lines, since one match of nft's has no "or" between masked marks or cgroups of unlike depth.
std::size_t count_lines(const Plan& plan, Hook hook, Layout layout = Layout::kInet);

// A table can neither gain nor lose its owner, so what is there (ours or a leftover) has to be deleted, in the same
// transaction; deleting what isn't there would make the transaction fail.
enum class Existing { kNothing, kRules };

// What the tables' comment says: the digest, with `generation` of what the plan alone doesn't say (at most 32
// characters without spaces), if any.
std::string plan_comment(const Plan& plan, const std::string& generation);

// `stays` is of kStaysTable.
std::string emit_nft(const Plan& plan, Existing existing, const std::string& table = kTable,
                     Layout layout = Layout::kInet, const std::string& generation = {},
                     Existing stays = Existing::kNothing);
// Are rules of this hook to outlive the broker?
bool stays(const Plan& plan, Hook hook);
std::string emit_remove_rules(const std::string& table = kTable, Layout layout = Layout::kInet);
std::string emit_remove_anchor(Layout layout = Layout::kInet);

}  // namespace hawser::netfilter
