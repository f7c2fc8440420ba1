// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include "netfilter/plan.h"

// What: one question for a name over UDP, as a program of this host asks it. The name is under "invalid", which
// resolvers answer by themselves (RFC 6761 §6.4), so that no upstream server is needed; whatever the answer says, there
// is somebody who answers. Threading: blocking, at most about a second. Failure: an errno.
namespace hawser::netfilter {

inline constexpr const char* kDnsProbeName = "hawser.invalid";

struct DnsAnswer {
  int error = 0;  // 0: it was answered; ETIMEDOUT: nobody did
};

DnsAnswer ask_as(const Prober& prober, const Cidr& server);

}  // namespace hawser::netfilter
