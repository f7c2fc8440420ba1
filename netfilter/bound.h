// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "base/result.h"

namespace hawser::netfilter {

// What: is a UDP socket bound to this port, in either family (sock_diag(7))? Threading: blocking, milliseconds.
// Failure: HWS-NF-020.
Result<bool> observe_bound_udp(std::uint16_t port);

}  // namespace hawser::netfilter
