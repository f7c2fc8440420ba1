// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <map>
#include <set>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "netfilter/emit_xtables.h"
#include "netfilter/xtables_entry.h"

// What: which matches and targets of xtables the kernel has, in the revisions that xtables_entry.h builds
// (IPT_SO_GET_REVISION_MATCH and _TARGET and their IPv6 counterparts). Asking may load their modules, and registers no
// table. Threading: blocking, microseconds; milliseconds where a module is loaded.
// Failure: HWS-NF-073 (the caller may not ask), HWS-NF-074 (missing parts, all of them in one error).
namespace hawser::netfilter {

// ip_tables or ip6_tables, as modprobe knows it.
const char* xtables_module(Family family);

class XtRevisions {
 public:
  // Does the kernel have the family at all, and legacy xtables for it?
  Status usable(Family family);
  bool has_family(Family family);
  // What the form needs; tables aside.
  Status check(const XtTableForm& form);
  // Of those that come in several, the newest; 0: none.
  Revisions newest(Family family);

 private:
  enum class What { kMatch, kTarget };
  struct Need {
    What what;
    std::string name;
    int revision;
    auto operator<=>(const Need&) const = default;
  };
  // 0, or the errno.
  int ask(Family family, const Need& need);
  int socket(Family family);
  static std::set<Need> needs(const XtTableForm& form);

  UniqueFd sockets_[2];
  std::map<std::pair<Family, Need>, int> known_;
};

}  // namespace hawser::netfilter
