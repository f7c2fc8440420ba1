// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

#include "base/result.h"
#include "netfilter/nft_listing.h"
#include "netfilter/plan.h"

// What: a way to bring a plan into the kernel. Threading: blocking, on the broker's loop; each call takes milliseconds.
// Failure: HWS-NF-010…013; after a failed apply the kernel has what it had before.
namespace hawser::netfilter {

struct Observation {
  bool rules = false;   // the rules are in the kernel
  bool anchor = false;  // the anchor is
  std::string text;     // both, as the kernel lists them
  Listing listing;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  // One transaction; what the kernel then lists is compared with the plan.
  virtual Status apply(const Plan& plan) = 0;
  virtual Result<Observation> observe() = 0;
  // Nothing to remove is fine.
  virtual Status remove_rules() = 0;
  virtual Status remove_anchor() = 0;
};

}  // namespace hawser::netfilter
