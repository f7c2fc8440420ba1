// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

#include "base/result.h"

// What: which backend this kernel can serve. The kernel itself is asked, by a transaction of nftables that it checks
// and doesn't commit, and for legacy xtables by the revision of a target, which registers no table; what some program
// has saved or loaded says nothing about it. nftables comes first: one transaction over all hooks and families, sets,
// and tables that go with their owner. Threading: blocking, milliseconds. Failure: HWS-NF-077 (what is wanted, or
// neither, can be used; with the reasons).
namespace hawser::netfilter {

enum class BackendKind { kAuto, kNftables, kXtables };
// "auto", "nftables", "xtables"
const char* to_string(BackendKind kind);
Result<BackendKind> parse_backend(const std::string& text);

struct Detected {
  BackendKind kind = BackendKind::kNftables;  // never kAuto
  std::string reason;
};
Result<Detected> detect(BackendKind wanted = BackendKind::kAuto);

// Would the kernel take tables as emit_nft.h makes them?
Status nftables_usable();
Status xtables_usable();

}  // namespace hawser::netfilter
