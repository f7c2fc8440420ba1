// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "netfilter/plan.h"

// What: what the host shows that rules have to respect. Threading: blocking, milliseconds.
// Failure: HWS-NF-020 (sock_diag). A missing or unreadable sshd_config means port 22 alone.
namespace hawser::netfilter {

Guard observe_guard();

// Does a TCP socket listen on this port, at whatever address (sock_diag(7))?
Result<bool> observe_listening(std::uint16_t port);

// Established TCP connections whose local port is one of the proxy's two, in both families: those that live on
// redirection (sock_diag(7)).
Result<std::size_t> observe_redirected(std::uint16_t outbound_port, std::uint16_t inbound_port);

}  // namespace hawser::netfilter
