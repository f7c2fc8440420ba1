// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

#include "base/result.h"
#include "netfilter/plan.h"

// What: the cgroups that a plan names, as the kernel has them now. A rule holds a cgroup's number, not its name, and a
// unit that was stopped and started again has another one: then the same plan isn't the same rules.
// Threading: blocking, microseconds. Failure: HWS-NF-050 (no cgroup v2 there), HWS-NF-051 (no such cgroup).
// Facts: libnftables looks a name up below /sys/fs/cgroup alone; kernfs: a cgroup's number is its folder's inode.
namespace hawser::netfilter {

// "cgroups:…", the same as long as all of them are the same ones; empty if the plan names none.
Result<std::string> observe_cgroups(const Plan& plan, const std::string& root = "/sys/fs/cgroup");

}  // namespace hawser::netfilter
