// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

#include "netfilter/backend.h"
#include "netfilter/plan.h"

// What: do the rules in force really lead to the proxy? Outbound by a connection to an address and port where nobody
// listens (127.0.0.6:15009, [::1]:15009): it succeeds only if it is redirected to a bound listener. Inbound by a SYN
// from outside (inbound_probe.h). DNS by a question to a server of the host's (dns_probe.h), since a host that can't
// resolve names is lost. Threading: blocking, at most about a second a probe. Failure: a probe that can't be made
// passes, and its detail says "read back only" and why.
namespace hawser::netfilter {

struct ProbeResult {
  std::string name;  // out4, out6, in4, in6, dns4, dns6
  bool passed = false;
  std::string detail;
};

// What the plan captures is probed, with the rules' own counters as second witness.
std::vector<ProbeResult> probe(Backend& backend, const Plan& plan);

}  // namespace hawser::netfilter
