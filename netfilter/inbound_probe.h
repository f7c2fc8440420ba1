// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <memory>

#include "base/fd.h"
#include "base/result.h"
#include "netfilter/address.h"

// What: TCP SYNs as if from another host, over a temporary veth pair (veth.h): local connections never meet
// PREROUTING, so connect() can't probe it, and a packet injected on lo is dropped as a martian.
// Threading: blocking, under a second for each question. Failure: HWS-NF-021 where the pair or the packet socket can't
// be made (needs CAP_NET_ADMIN and CAP_NET_RAW), or has no address of the family; the pair is removed in any case.
namespace hawser::netfilter {

class VethPair;

enum class InboundAnswer {
  kAccepted,  // SYN-ACK: redirected, and somebody listens
  kRefused,   // RST
  kNothing,
};

class InboundProbe {
 public:
  static Result<InboundProbe> make();
  InboundProbe(InboundProbe&&) noexcept;
  ~InboundProbe();

  Result<InboundAnswer> ask(Family family) const;

 private:
  InboundProbe(std::unique_ptr<VethPair> pair, UniqueFd socket);

  std::unique_ptr<VethPair> pair_;
  UniqueFd socket_;  // at the other end
};

}  // namespace hawser::netfilter
