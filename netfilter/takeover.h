// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "netfilter/foreign.h"
#include "netfilter/plan.h"

// What: rules of other meshes in the kernel, in nftables and in legacy xtables, and taking their place. Two meshes on
// one host redirect to each other's proxies, so without being told to, nothing is applied next to another's. With a
// takeover no connection goes past both: ours come first (by priority, or by position) while theirs are still there,
// then theirs go, each table in one transaction. Threading: blocking, milliseconds. Failure: HWS-NF-054 (there is
// another mesh), HWS-NF-055 (theirs can't be read or removed). What can't be told from an operator's own rules stays.
namespace hawser::netfilter {

Result<std::vector<Foreign>> observe_foreign();
// HWS-NF-054 if there is any.
Status check_foreign();

// Before ours are applied: if the plan uses the very routing that Istio's TPROXY does, it becomes ours without a gap.
Status take_over_routing(const Plan& plan);
// After it: all that observe_foreign() finds, and Istio's routing that the plan doesn't use.
Status remove_foreign(const Plan& plan);

}  // namespace hawser::netfilter
