// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <memory>
#include <string>

#include "netfilter/backend.h"

namespace hawser::netfilter {

// What: the backend that was chosen, and the other one as long as rules of ours may be there from before: the kernel
// was changed, or the configuration. Both are never left in force: what the other has is observed and removed as if it
// were the chosen one's; an apply brings in the chosen one's rules first, which decide before or as the other's do, and
// then takes the other's out, anchor and all: redirected connections live on, since the chosen one's anchor is there by
// then. Threading, failure: see Backend; a removal that fails takes the new rules back.
class BackendPair final : public Backend {
 public:
  // `other` may be nothing.
  BackendPair(std::unique_ptr<Backend> chosen, std::unique_ptr<Backend> other, std::string reason)
      : chosen_(std::move(chosen)), other_(std::move(other)), reason_(std::move(reason)) {}

  const char* name() const override { return chosen_->name(); }
  std::string reason() const override { return reason_; }
  std::uint32_t port_id() const override { return chosen_->port_id(); }
  Status apply(const Plan& plan) override;
  Status repair(const Plan& plan) override;
  Result<Observation> observe() override;
  Result<Counters> counters() override { return chosen_->counters(); }
  Status remove_rules() override;
  Status remove_anchor() override;

 private:
  Status only_chosen();
  // Nothing of it is left: it isn't asked any more. False also if it can't tell.
  bool other_empty();

  std::unique_ptr<Backend> chosen_;
  std::unique_ptr<Backend> other_;
  std::string reason_;
};

}  // namespace hawser::netfilter
