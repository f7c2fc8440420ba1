// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "netfilter/backend.h"
#include "netfilter/iptc_table.h"
#include "netfilter/xtables_lock.h"
#include "netfilter/xtables_revisions.h"

namespace hawser::netfilter {

// What: Backend over libiptc, for kernels without nf_tables. Each table of each family changes atomically, all of ours
// at once, with the jump in place; the xtables lock is held from the first read to the last look. Tables that capture
// are written before those that end to, so what is captured before and after is captured in between; a table that fails
// takes those before it back. Rules that are there already are left alone.
//
// Rules outlive the broker. Their jumps' comments have the plan's digest and a fingerprint of all tables, so that a
// successor knows them, and knows whether somebody changed them: then the listing has no digest.
// A table, once in the kernel, can't be taken out again: remove leaves `nat` empty, as `iptables -t nat -L` would.
// Threading: see Backend; waits for the lock up to Options::lock_wait.
// Failure: HWS-NF-013 (another program changes the rules meanwhile), HWS-NF-070…080.
class IptcBackend final : public Backend {
 public:
  struct Options {
    std::string lock_path = xtables_lock_path();
    std::chrono::milliseconds lock_wait{3000};
    std::string reason;
  };
  explicit IptcBackend(Options options) : options_(std::move(options)) {}
  IptcBackend() : IptcBackend(Options()) {}

  // Could rules be applied here? Registers no table.
  Status usable();

  const char* name() const override { return "xtables"; }
  std::string reason() const override { return options_.reason; }
  Status apply(const Plan& plan) override;
  Result<Observation> observe() override;
  Status remove_rules() override;
  Status remove_anchor() override;

 private:
  struct Slot {
    Family family;
    XtTable table;
    bool captures = false;
    bool unwanted = false;  // the plan has nothing for it
    bool changed = false;   // before isn't what is wanted
    OwnRules before = {};
    OwnRules wanted = {};
  };
  using Change = std::function<OwnRules(const OwnRules&)>;

  Result<std::vector<Slot>> wanted_slots(const Plan& plan);
  Status check(const XtablesForm& form);
  static Status write(std::vector<Slot>& slots);
  static Status write_one(const Slot& slot, const Change& change);
  static void take_back(const std::vector<Slot>& slots, std::size_t count);
  static Status read_back(const std::vector<Slot>& slots);
  Status change_all(const Change& change);

  Options options_;
  XtRevisions revisions_;
};

}  // namespace hawser::netfilter
