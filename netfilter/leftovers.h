// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <vector>

#include "netfilter/probe.h"

// What: is anything of ours left in this network namespace? Asks the kernel itself, and neither a backend nor a record
// of what was applied: nftables' tables and chains by name (nfnetlink(7)), the entries of the iptables-legacy tables
// that exist (/proc/self/net/ip_tables_names; none is made by looking), policy rules and routes of our table, the
// address ::6 and the probe's interfaces (rtnetlink(7)). Threading: blocking, milliseconds. Failure: what can't be
// looked at is a check that didn't pass, and says why; what the kernel doesn't have at all can't be left.
namespace hawser::netfilter {

std::vector<ProbeResult> observe_leftovers();

}  // namespace hawser::netfilter
