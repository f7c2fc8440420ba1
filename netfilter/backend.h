// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/result.h"
#include "netfilter/nft_listing.h"
#include "netfilter/plan.h"

// What: a way to bring a plan into the kernel. Threading: blocking, on the broker's loop; each call takes milliseconds.
// Failure: HWS-NF-010…013, HWS-NF-016 (the kernel lacks room for it); after a failed apply the kernel has what it had
// before.
namespace hawser::netfilter {

inline Error too_big(const std::string& what) {
  return {Code::kResourceExhausted, "HWS-NF-016", "the plan is too big for the kernel: " + what,
          "nothing was changed; summarise networks, give it memory, or in a container raise net.core.wmem_max"};
}

struct Observation {
  bool rules = false;    // the rules are in the kernel
  bool anchor = false;   // the anchor is
  bool routing = false;  // routes, rules or addresses that the rules need
  bool others = false;   // the rules were made with another backend than the one that is chosen
  // What remove_anchor() takes out once nothing lives on it.
  bool lasting() const { return anchor || routing; }
  std::string text;  // all, as the kernel lists it
  // All that apply() brought in (rules, anchor, routing), without what counts: as long as nobody else changes any of
  // it, two looks are equal. Empty: `text` without its counters stands for it.
  std::string shape;
  Listing listing;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  // Why it's this backend: "the kernel has nf_tables", …
  virtual std::string reason() const { return {}; }
  // Of the netlink socket that changes nftables, to tell its events from others'; 0: none.
  virtual std::uint32_t port_id() const { return 0; }
  // One transaction; what the kernel then lists is compared with the plan. Rules of a direction that stays
  // (Plan::outbound_stays, inbound_stays) aren't owned by a socket: they outlive the broker.
  virtual Status apply(const Plan& plan) = 0;
  // The same, also where it looks as if all of it were there: others may have changed what apply() doesn't compare.
  virtual Status repair(const Plan& plan) { return apply(plan); }
  virtual Result<Observation> observe() = 0;
  // Of what observe() shows, the counters alone.
  virtual Result<Counters> counters() {
    auto seen = observe();
    if (!seen) return seen.error();
    return std::move(seen->listing.counters);
  }
  // Nothing to remove is fine.
  virtual Status remove_rules() = 0;
  virtual Status remove_anchor() = 0;
};

}  // namespace hawser::netfilter
