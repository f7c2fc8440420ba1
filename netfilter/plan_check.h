// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

#include "base/result.h"
#include "netfilter/intent.h"

// What: is it something that can be compiled? The single ones also for who reads them from a file, and knows the line.
// Pure. Threading: none of its own. Failure: plan.h's.
namespace hawser::netfilter {

Status check_interface(const std::string& name);  // HWS-NF-030
Status check_cgroup(const std::string& path);     // HWS-NF-031
Status check_mark(const Mark& mark);              // HWS-NF-032
Status check_tproxy(const Tproxy& tproxy);        // HWS-NF-032, HWS-NF-033
// All but what is said about addresses and port ranges, which prepare() (plan_builder.h) finds when it reads them.
Status check(const Intent& intent);

}  // namespace hawser::netfilter
