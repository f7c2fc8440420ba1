// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include "base/result.h"

// What: one TCP SYN as if from another host, over a temporary veth pair (veth.h): local connections never meet
// PREROUTING, so connect() can't probe it, and a packet injected on lo is dropped as a martian.
// Threading: blocking, under a second. Failure: HWS-NF-021 where the pair or the packet socket can't be made (needs
// CAP_NET_ADMIN and CAP_NET_RAW); the pair is removed in any case.
namespace hawser::netfilter {

enum class InboundAnswer {
  kAccepted,  // SYN-ACK: redirected, and somebody listens
  kRefused,   // RST
  kNothing,
};

Result<InboundAnswer> probe_inbound();

}  // namespace hawser::netfilter
