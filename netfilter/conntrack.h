// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <memory>

#include "base/result.h"
#include "netfilter/plan.h"

// What: the kernel's memory of connections (nf_conntrack). It decides about NAT once, with a connection's first packet.
// A connection that was begun while no rules were there, and that nobody answered, would so pass the rules by for as
// long as it is tried; and with it, for two minutes (nf_conntrack_tcp_timeout_syn_sent), each other one from its port.
// Threading: blocking, milliseconds; the kernel's answers are waited for at most a second.
// Failure: HWS-NF-015; what could be forgotten is.
namespace hawser::netfilter {

// Keeps its sockets, since closing one may take long: see netlink.h.
class ConnectionTracking {
 public:
  ConnectionTracking();
  ~ConnectionTracking();
  // Lets the kernel forget those of this host that `plan` may capture, so that it asks the rules when their next packet
  // comes. What has been answered, what anybody's NAT has changed, what is routed for others, and what the plan leaves
  // alone isn't touched. How many they were.
  Result<std::size_t> forget_unanswered(const Plan& plan);

 private:
  struct Sockets;
  std::unique_ptr<Sockets> sockets_;
};

}  // namespace hawser::netfilter
