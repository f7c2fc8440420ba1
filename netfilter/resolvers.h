// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

#include "netfilter/intent.h"

// What: which servers this host's programs ask for names (resolv.conf(5)), and who of this host asks on in their place:
// whatever is bound to port 53 of a loopback address that stands there, like systemd-resolved's stub at 127.0.0.53. It
// is looked at with each apply; hawserd applies anew when resolv.conf changes (agent/interception.h). Threading:
// blocking, milliseconds. Failure: what can't be read or listed is left out.
namespace hawser::netfilter {

// The addresses of its `nameserver` lines, without the zone of link-local ones; at most 16.
std::vector<std::string> parse_resolvers(const std::string& resolv_conf);
void observe_resolvers(Guard& out);

}  // namespace hawser::netfilter
