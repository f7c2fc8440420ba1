// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "netfilter/plan.h"

// What: the last look at a plan before it's applied, by what it does to packets (netfilter/evaluate.h) and not by what
// it was made from. Pure, but for `bound`. Threading: none of its own. Failure: HWS-BR-035 (the operator's own session
// would be captured when it's opened again), HWS-BR-036 (the control plane would be), HWS-BR-037 (nobody listens where
// DNS is to go).
namespace hawser::broker {

// A TCP connection to this host.
struct Session {
  std::string peer;
  std::uint32_t peer_port = 0;
  std::string local;
  std::uint32_t local_port = 0;
};

Status check_sessions(const netfilter::Plan& plan, const std::vector<Session>& sessions);
Status check_never(const netfilter::Plan& plan, const std::vector<netfilter::Endpoint>& never);
// Is a socket bound to that port?
using Bound = std::function<Result<bool>(std::uint16_t port)>;
Status check_dns(const netfilter::Plan& plan, const Bound& udp, const Bound& tcp);

}  // namespace hawser::broker
