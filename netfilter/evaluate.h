// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "netfilter/plan.h"

// What: would a plan capture it? Pure. Threading: none of its own. Failure: none.
namespace hawser::netfilter {

// The first packet of a TCP connection that this host opens.
struct Opening {
  Cidr destination;  // a single address
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
};

// By addresses and ports alone: who opened it, and through which interface, isn't asked, so it may still be exempt.
bool may_capture(const Plan& plan, const Opening& opening);

}  // namespace hawser::netfilter
