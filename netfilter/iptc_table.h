// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "netfilter/emit_xtables.h"
#include "netfilter/nft_listing.h"
#include "netfilter/xtables_entry.h"

// What: one table of one family as libiptc sees it: read once, changed in memory, written back as a whole, which the
// kernel does atomically. Only our own part is shown: chains whose names begin with HAWSER_, and jumps to them.
// Threading: blocking, tens of microseconds. Whoever changes a table holds the xtables lock from open() to commit():
// libiptc notices another writer only by the number of entries. Failure: HWS-NF-073 (not permitted), HWS-NF-074 (there
// is no such table), HWS-NF-075 (refused); kAborted with HWS-NF-080: somebody else changed it since open().
namespace hawser::netfilter {

// In the form of compose(), sorted by name.
struct OwnRules {
  struct Chain {
    std::string name;
    std::vector<EntryBytes> entries;
    bool operator==(const Chain&) const = default;
  };
  struct Jump {
    std::string from;
    std::size_t position = 0;  // 0: the first rule of its chain
    EntryBytes entry;
    bool operator==(const Jump&) const = default;
  };
  std::vector<Chain> chains;
  std::vector<Jump> jumps;

  bool has(const std::string& chain) const;
  // Anything but the anchor.
  bool rules() const;
  bool operator==(const OwnRules&) const = default;
};

class IptcTable {
 public:
  // Makes the kernel have the table, if it hasn't yet.
  static Result<std::unique_ptr<IptcTable>> open(Family family, XtTable table);
  virtual ~IptcTable() = default;

  virtual OwnRules own() = 0;
  // What our rules counted, by their comments' "out:ssh" as "out_ssh".
  virtual void count(std::map<std::string, Traffic>& counters) = 0;
  // Instead of all that is there of ours; jumps come first in their chains.
  virtual Status replace(const OwnRules& rules) = 0;
  virtual Status commit() = 0;

  // Of other programs (takeover.h): all chains' names; and their removal, with what jumps there, and with the rules in
  // other chains of which `theirs` says that they belong to them.
  struct Entry {
    std::string chain;
    Family family = Family::kIpv4;
    const unsigned char* bytes = nullptr;  // ipt_entry or ip6t_entry
    std::string target;
  };
  using Theirs = std::function<bool(const Entry&)>;
  virtual std::vector<std::string> chains() = 0;
  virtual void each(const std::function<void(const Entry&)>& look) = 0;
  virtual Status erase(const std::vector<std::string>& names, const Theirs& theirs) = 0;
};

// Those that this network namespace has already; asking makes none.
class RegisteredTables {
 public:
  static RegisteredTables observe();
  bool has(Family family, XtTable table) const;

 private:
  bool unknown_ = false;  // then each has to be asked itself
  std::set<std::string> names_[2];
};

// All chains of a table; none if the kernel hasn't got it yet, which opening it would change.
Result<std::vector<std::string>> legacy_chains(Family family, XtTable table);

}  // namespace hawser::netfilter
