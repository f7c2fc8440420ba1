// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "netfilter/plan.h"

namespace hawser::broker::v1 {
class FailurePolicy;
}

namespace hawser::broker {

// Per direction, without hawserd and without a proxy: closed refuses what was captured, open lets it go direct.
struct FailurePolicy {
  bool inbound_closed = true;
  bool outbound_closed = false;
  std::uint32_t max_open_seconds = 0;  // after that what is open is closed; 0: it stays open
};

void to_proto(const FailurePolicy& policy, v1::FailurePolicy& out);

// What: what the broker knows of its plans across its own end. Threading: blocking. Failure: HWS-BR-015 (damaged),
// those of base/file.h. Durability: save() is atomic; a record with nothing in it is no file.
struct PlanRecord {
  struct InForce {
    std::string digest;
    netfilter::Intent intent;
    bool confirmed = false;
    std::int64_t confirm_until = 0;  // Unix milliseconds; 0: no timer
    bool policy = false;             // the failure policy, and not what hawserd asked for
    FailurePolicy on_failure = {};   // becomes the record's when it's confirmed
    bool revert = false;             // unconfirmed in time, it gives way to `confirmed`
    std::int64_t open_until = 0;     // of the policy, Unix milliseconds: what is open is closed then; 0: no limit
  };
  std::optional<netfilter::Intent> confirmed;  // the last one
  std::string confirmed_digest;
  std::string refused;  // the digest of what was tried and not confirmed; empty: nothing was
  FailurePolicy on_failure;
  std::optional<InForce> in_force;

  static Result<PlanRecord> load(const std::string& path);
  Status save(const std::string& path) const;
};

}  // namespace hawser::broker
